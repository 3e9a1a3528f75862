"""The installation of the app into a workspace by OAuth, and what the app is (its manifest).

https://docs.slack.dev/authentication/installing-with-oauth . An operator makes a ticket (`stormweir slack connect`),
whose link leads to Slack and back. Without a ticket nobody can connect a workspace: the link names the destination, is
signed with the app's client secret, expires, and Slack returns it as `state`.
"""

import hmac
import secrets
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import msgspec
import orjson

from schemas.settings import Settings
from sinks.channels.slack import SlackDestination
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change

#: Posting, and listing public and private channels.
SCOPES = ("chat:write", "channels:read", "groups:read")
START = "/slack/oauth/start"
CALLBACK = "/slack/oauth/callback"
INTERACTIONS = "/slack/interactions"
#: How long a ticket is valid, seconds.
TICKET_S = 1_800
_PURPOSE = b"stormweir slack ticket."


class Ticket(msgspec.Struct, frozen=True):
    """Which destination a workspace is connected for. `expires` is in Unix seconds."""

    tenant: str
    destination: str
    channel: str
    expires: int
    nonce: str


class Workspace(msgspec.Struct, frozen=True):
    """A workspace that has the app installed."""

    name: str
    token: str


def new_ticket(tenant: str, destination: str, channel: str, now: float) -> Ticket:
    """A ticket that is valid from `now` (Unix seconds) for TICKET_S."""
    return Ticket(tenant, destination, channel, int(now) + TICKET_S, secrets.token_urlsafe(16))


def sealed(ticket: Ticket, secret: str) -> str:
    """The ticket as text for a URL, signed."""
    content = urlsafe_b64encode(msgspec.json.encode(ticket))
    return f"{content.decode()}.{_mac(content, secret)}"


def opened(text: str, secret: str, now: float) -> Ticket:
    """The ticket of a text that `sealed` made. Raises ValueError for any other, and after it has expired."""
    content, _, mac = text.partition(".")
    raw = content.encode("utf-8", "surrogatepass")
    if not secret or not hmac.compare_digest(mac.encode("utf-8", "surrogatepass"), _mac(raw, secret).encode()):
        raise ValueError("the link is not one of `stormweir slack connect`")
    ticket = msgspec.json.decode(urlsafe_b64decode(raw), type=Ticket)
    if ticket.expires < now:
        raise ValueError("the link has expired: make a new one with `stormweir slack connect`")
    return ticket


def start_link(settings: Settings, ticket: Ticket) -> str:
    """The link that an operator opens in a browser."""
    return f"{settings.public_url}{START}?{urlencode({'ticket': sealed(ticket, settings.slack_client_secret)})}"


def authorize_url(settings: Settings, state: str) -> str:
    """Slack's page where a workspace is chosen and the scopes are allowed."""
    query = {
        "client_id": settings.slack_client_id,
        "scope": ",".join(SCOPES),
        "redirect_uri": redirect_uri(settings),
        "state": state,
    }
    return f"{settings.slack_url.rstrip('/')}/oauth/v2/authorize?{urlencode(query)}"


def redirect_uri(settings: Settings) -> str:
    """Where Slack sends the browser back to."""
    return settings.public_url + CALLBACK


def exchange(settings: Settings, code: str) -> tuple[str, bytes, dict[str, str]]:
    """The request that exchanges a code for a token: URL, body and headers.

    https://docs.slack.dev/reference/methods/oauth.v2.access
    """
    basic = b64encode(f"{settings.slack_client_id}:{settings.slack_client_secret}".encode()).decode()
    body = urlencode({"code": code, "redirect_uri": redirect_uri(settings)}).encode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    return f"{api_url(settings)}/oauth.v2.access", body, headers


def workspace(answer: bytes) -> Workspace:
    """The workspace of an answer to `exchange`. Raises ValueError with Slack's reason."""
    try:
        body: Any = orjson.loads(answer)
    except orjson.JSONDecodeError:
        raise ValueError("Slack did not answer") from None
    if not isinstance(body, dict) or body.get("ok") is not True or not isinstance(body.get("access_token"), str):
        error = body.get("error") if isinstance(body, dict) else None
        known = isinstance(error, str) and error.isascii() and error.replace("_", "").isalnum()
        raise ValueError(f"Slack refuses: {error if known else 'no token'}")
    missing = set(SCOPES).difference(str(body.get("scope", "")).split(","))
    if missing:
        raise ValueError(f"the app lacks scopes: {', '.join(sorted(missing))}")
    team = body.get("team")
    return Workspace(str(team.get("name", ""))[:100] if isinstance(team, dict) else "", body["access_token"])


def api_url(settings: Settings) -> str:
    """Where the Web API is."""
    return settings.slack_url.rstrip("/") + "/api"


def connected(control: Control, ticket: Ticket, found: Workspace, api: str) -> tuple[SlackDestination, Change]:
    """The ticket's destination with the workspace's token: a changed one, or a new one. Raises FieldError."""
    old = slack_destination(control, ticket.tenant, ticket.destination)
    values: dict[str, Any] = {"id": ticket.destination, "tenant": ticket.tenant} if old is None else old.model_dump()
    values |= {"type": "slack", "channel": ticket.channel, "bot_token": found.token, "workspace": found.name}
    record = SlackDestination.model_validate({**values, "api_url": api})
    return record, Change([record])


def moved(control: Control, tenant: str, destination: str, channel: str) -> tuple[SlackDestination, Change]:
    """The destination with another channel. Raises FieldError, ValidationError for what is no channel's id."""
    old = slack_destination(control, tenant, destination)
    if old is None:
        raise FieldError("destination", f"no destination {destination!r}")
    record = SlackDestination.model_validate({**old.model_dump(), "channel": channel})
    return record, Change([record])


def slack_destination(control: Control, tenant: str, destination: str) -> SlackDestination | None:
    """The destination, None if there is none of this id. Raises FieldError if it is not of Slack."""
    found = control.destinations.get((tenant, destination))
    if found is not None and not isinstance(found, SlackDestination):
        raise FieldError("destination", f"{destination!r} is of the type {found.type}")
    return found


def manifest(settings: Settings, *, socket_mode: bool = False) -> dict[str, Any]:
    """The app as Slack creates it: https://docs.slack.dev/reference/app-manifest ."""
    interactivity: dict[str, Any] = {"is_enabled": True}
    if not socket_mode:
        interactivity["request_url"] = settings.public_url + INTERACTIONS
    return {
        "display_information": {
            "name": "Stormweir",
            "description": "Incidents of alert storms, with acknowledge and resolve",
        },
        "features": {"bot_user": {"display_name": "Stormweir", "always_online": True}},
        "oauth_config": {"redirect_urls": [redirect_uri(settings)], "scopes": {"bot": list(SCOPES)}},
        "settings": {
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }


def _mac(content: bytes, secret: str) -> str:
    return hmac.digest(secret.encode(), _PURPOSE + content, sha256).hex()
