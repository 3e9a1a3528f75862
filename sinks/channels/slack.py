"""The Slack channel: a card for each incident with buttons, kept up to date, and a thread with its changes.

Slack answers 200 to nearly everything and says in the body how it ended.
https://docs.slack.dev/reference/methods/chat.postMessage , https://docs.slack.dev/apis/web-api/rate-limits
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field, HttpUrl

from schemas.control import Destination, SecretMark, SeverityName
from schemas.fingerprint import digest as fingerprint
from sinks.channels._slack_card import card, summary, title
from sinks.contract import DONE, Channel, Digest, End, Help, Message, Rate, Request, Verdict, by_status
from sinks.outbound import Answer
from sinks.related import others
from sinks.slack_text import MAX_MENTIONS, MentionId, change, mentions

#: What a test says; the seeds give this sentence.
CONNECTED = "Slack is connected!"
#: `chat.update` takes 4000 bytes of text after escaping; 1000 UTF-16 code units are at most 3000 bytes of UTF-8, which
#: leaves room for 20 mentions.
MAX_TEXT = 1_000
#: One message a second for a channel; of a workspace "several hundred a minute", and 50 updates a minute (tier 3).
PER_CHANNEL = 1.0
PER_WORKSPACE = 4.0
UPDATES = 50 / 60

TransitionName = Literal[
    "triggered", "escalated", "acknowledged", "unacknowledged", "resolved", "reminder", "sla_breach", "updated"
]


class SlackDestination(Destination):
    """A channel of a Slack workspace.

    `mentions` are notified at the changes and severities chosen, those of rules at the changes. Without `buttons`,
    cards have only a link: buttons need a gateway that Slack can reach. `workspace` is its id or name, for people.
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["slack"] = "slack"
    bot_token: Annotated[str, Field(pattern=r"^xox[A-Za-z0-9.-]{5,500}$", repr=False), SecretMark()] = Field(
        description="The Bot User OAuth Token of the app in the workspace; it begins with `xoxb-`."
    )
    channel: Annotated[str, Field(pattern=r"^[CGD][A-Z0-9]{2,20}$")] = Field(
        description="The channel's id, as it stands at the end of its details in Slack; it begins with C, G or D."
    )
    workspace: str = Field(default="", max_length=100, description="The workspace's name or id, for people.")
    mentions: tuple[MentionId, ...] = Field(
        default=(),
        max_length=MAX_MENTIONS,
        description="Who is mentioned: ids of people (U...) or user groups (S...), or `channel`, `here`.",
    )
    mention_on: tuple[TransitionName, ...] = Field(
        default=("triggered", "escalated", "reminder", "sla_breach"), description="The changes that mention them."
    )
    mention_severities: tuple[SeverityName, ...] = Field(
        default=("critical",), description="The severities that mention them."
    )
    buttons: bool = Field(default=True, description="Whether the card has Acknowledge and Resolve.")
    api_url: HttpUrl = Field(
        default=HttpUrl("https://slack.com/api"),
        description="Where Slack's Web API is; another one only for tests and proxies.",
    )


def render(message: Message, settings: SlackDestination, handle: str) -> Sequence[Request]:
    """A new card, or the former card changed (`handle` is its time stamp) and the change in its thread."""
    if message.test:
        return [_post(settings, {"text": CONNECTED})]
    named = _mentions(message, settings)
    text = f"{named} {change(message)}: {title(message.incident, MAX_TEXT)}{others(message)}".lstrip()
    blocks = card(message, buttons=settings.buttons, mentions=named)
    fresh = _post(settings, {"text": text, "blocks": blocks}, instead=_post(settings, {"text": text}))
    if not handle:
        return [fresh]
    shown = {"ts": handle, "text": text, "blocks": card(message, buttons=settings.buttons)}
    # The card may have been deleted, or be too old to be changed: then there is a new one.
    update = _request(settings, "chat.update", shown, [_rate(settings, "chat.update", UPDATES, 10)], instead=fresh)
    return [update, _post(settings, {"text": text, "thread_ts": handle}, instead=_post(settings, {"text": text}))]


def digest(many: Digest, settings: SlackDestination) -> Sequence[Request]:
    """One message in place of many."""
    text = f"{many.total} incidents changed"
    return [_post(settings, {"text": text, "blocks": summary(many)}, instead=_post(settings, {"text": text}))]


def classify(answer: Answer) -> Verdict:
    """How a request ended, by the body's `ok` and `error`."""
    if answer.error_code is not None or answer.status != 200:
        return by_status(answer)
    body = _body(answer)
    if body.get("ok") is True:
        return DONE
    match body.get("error"):
        case "ratelimited" | "rate_limited" | "message_limit_exceeded":
            return Verdict(End.RETRY, "rate_limited", retry_after_s=answer.retry_after_s)
        case str(error) if error in _OURS:
            return Verdict(End.REFUSED, error)
        case str(error) if error in HELP:
            return Verdict(End.REFUSED, error, broken=True)
        case str(error) if error not in _THEIRS:
            return Verdict(End.REFUSED, "rejected")
        case _:
            # A failure of Slack's own, or not Slack's answer at all, such as a proxy's page.
            return Verdict(End.RETRY, "unavailable", retry_after_s=answer.retry_after_s)


def keep(answer: Answer) -> str:
    """The time stamp of the card, which is its id; "" for an answer in its thread."""
    body = _body(answer)
    stamp, posted = body.get("ts"), body.get("message")
    thread = posted.get("thread_ts", stamp) if isinstance(posted, dict) else stamp
    return stamp if isinstance(stamp, str) and thread == stamp else ""


def _mentions(message: Message, settings: SlackDestination) -> str:
    if set(settings.mention_on).isdisjoint(message.told):
        return ""
    severe = message.incident.severity.name.lower() in settings.mention_severities
    return mentions(settings.mentions if severe else (), message.notification.mentions)


def _post(settings: SlackDestination, content: Mapping[str, object], instead: Request | None = None) -> Request:
    method = "chat.postMessage"
    quiet = {"unfurl_links": False, "unfurl_media": False}
    rates = [
        _rate(settings, f"{method} {settings.channel}", PER_CHANNEL),
        _rate(settings, method, PER_WORKSPACE, 10),
    ]
    return _request(settings, method, {**content, **quiet}, rates, instead)


def _request(
    settings: SlackDestination,
    method: str,
    content: Mapping[str, object],
    rates: Sequence[Rate],
    instead: Request | None = None,
) -> Request:
    # `parse` and `link_names`: Slack makes no mentions out of names in the text.
    body = {"channel": settings.channel, "parse": "none", "link_names": False, **content}
    headers = {
        "Authorization": f"Bearer {settings.bot_token}",
        "Content-Type": "application/json; charset=utf-8",
    }
    return Request(f"{str(settings.api_url).rstrip('/')}/{method}", orjson.dumps(body), headers, rates, instead)


def _rate(settings: SlackDestination, what: str, per_second: float, burst: int = 1) -> Rate:
    # Limits count for an app in a workspace, which the token stands for.
    return Rate(f"slack {fingerprint(settings.bot_token).hex()} {what}", per_second, burst)


def _body(answer: Answer) -> dict[str, Any]:
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


_AGAIN = "Nothing: it is sent in another form."
#: Errors about one message: another message may still succeed.
_OURS = frozenset(
    {
        "invalid_blocks",
        "msg_blocks_too_long",
        "msg_too_long",
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "cannot_reply_to_message",
    }
)
#: Failures of Slack's own that pass.
_THEIRS = frozenset(
    {
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "accesslimited",
        "org_login_required",
        "team_added_to_org",
    }
)
_CONNECT = "Connect the workspace again with `stormweir slack connect`, or put in the app's current bot token."
HELP: Mapping[str, Help] = {
    "not_in_channel": Help(
        "The bot is not a member of the channel.", "Invite the bot: type `/invite @Stormweir` in the channel."
    ),
    "channel_not_found": Help(
        "The channel does not exist, or it is private and the bot is not in it.",
        "Invite the bot to the channel, or choose another one of `stormweir slack channels`.",
    ),
    "is_archived": Help("The channel is archived.", "Unarchive it in Slack, or choose another channel."),
    "restricted_action": Help("The workspace lets the app not post there.", "Ask an owner of the workspace."),
    "invalid_auth": Help("Slack does not know the token, or not from this address.", _CONNECT),
    "not_authed": Help("Slack got no token.", _CONNECT),
    "account_inactive": Help("The app's bot was removed.", _CONNECT),
    "token_revoked": Help("The app was removed from the workspace, or its token was revoked.", _CONNECT),
    "token_expired": Help("The token is of an app with token rotation.", "Turn rotation off, and connect again."),
    "missing_scope": Help("The app may not post messages.", "Give it the manifest's scopes, and install it again."),
    "no_permission": Help("The token may not do this.", _CONNECT),
    "invalid_blocks": Help("Slack does not take the card.", _AGAIN),
    "msg_blocks_too_long": Help("The card is too long for Slack.", _AGAIN),
    "msg_too_long": Help("The text is too long for Slack.", "Please report it: texts are cut below Slack's limit."),
    "message_not_found": Help("The card was deleted in Slack.", _AGAIN),
    "cant_update_message": Help("The card is not this app's.", _AGAIN),
    "edit_window_closed": Help("The workspace lets the card not be changed any more.", _AGAIN),
    "cannot_reply_to_message": Help("The card can have no thread.", _AGAIN),
}

CHANNEL = Channel(
    slug="slack",
    title="Slack",
    settings=SlackDestination,
    render=render,
    classify=classify,
    keep=keep,
    digest=digest,
    help=HELP,
    setup=(
        "Create an app at https://api.slack.com/apps, *From a manifest*, with what `stormweir slack manifest` prints.",
        "Install it to the workspace and copy the *Bot User OAuth Token* into `bot_token`; or run "
        "`stormweir slack connect`, which stores the token by itself.",
        "Type `/invite @Stormweir` in the channel; its id is at the end of *View channel details*.",
        "For buttons, set STORMWEIR_SLACK_SIGNING_SECRET of the gateway to the app's *Signing Secret*.",
    ),
    examples={
        "a channel": {"type": "slack", "bot_token": "xoxb-your-token", "channel": "C0123456789"},
        "critical incidents notify everybody in the channel": {
            "type": "slack",
            "bot_token": "xoxb-your-token",
            "channel": "C0123456789",
            "mentions": ["channel"],
        },
    },
)
