"""Who sends a request: keys, API keys and signatures. Every failure is a Refusal."""

import re
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import unquote

import msgspec

from schemas.control import Heartbeat, Integration
from streams.control.catalogue import could_sign, rate_limit
from streams.control.state import Control
from streams.gateway.answers import MISSING_SECRET, NO_SCOPE, UNAUTHORIZED, UNVERIFIED, WRONG_TYPE, Refusal
from streams.gateway.senders import ApiSender
from streams.policy.signature import Header, Signature, mark, verify

SCOPE = "events:write"
#: The URL parameter that is a credential, and its length in characters.
INTEGRATION_ID = "integrationId"
KEY_LENGTH = 32

#: How a request may prove its sender: a scheme and its secret.
Proof = tuple[Signature, str]


class Directory:
    """Finds senders in the followed control state by the credentials that they present."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._by_type: dict[tuple[str, str], Integration] = {}
        self._heartbeats: dict[str, Heartbeat] = {}
        self._version = -1

    def find(self, key: str) -> Integration | None:
        """The integration of this key, enabled or not, or None."""
        return self._control.integrations.get(key)

    def integration(self, key: str | None) -> Integration:
        """The integration of this key, enabled or not. Refuses with 401."""
        found = self.find(key) if key else None
        if found is None:
            raise Refusal(UNAUTHORIZED)
        return found

    def api_key(self, key: str, tenant: str | None = None) -> ApiSender:
        """The sender of an API key that may write events, without a service yet. Refuses with 401 or 403.

        With `tenant`, a key of another tenant is refused like an unknown key.
        """
        found = self._control.apikeys.get(sha256(key.encode("utf-8", "surrogatepass")).hexdigest())
        if found is None or tenant not in (None, found.tenant):
            raise Refusal(UNAUTHORIZED)
        sender = ApiSender(found, found.tenant, "", f"apikey/{found.id}", rate_limit=found.rate_limit)
        if SCOPE not in found.scopes:
            raise Refusal(NO_SCOPE, sender)
        return sender

    def sender_of_type(self, key: str, slug: str) -> Integration | ApiSender:
        """The integration of this key, or the API key's sender for this provider.

        Refuses with 401 or 403, and an integration of another type as WRONG_TYPE.
        """
        found = self.find(key)
        if found is None:
            return self.sender_for(self.api_key(key), slug)
        if found.type != slug:
            raise Refusal(WRONG_TYPE, found)
        return found

    def sender_for(self, sender: ApiSender, slug: str) -> ApiSender:
        """An API key's sender for a provider: its tenant's integration of that type, if there is one.

        Of several integrations, an enabled one is chosen first, then the one with the lowest id. Without any, the
        service is the slug.
        """
        found = self._integration_of(sender.tenant, slug)
        if found is None:
            return sender._replace(service=slug)
        return ApiSender(
            key=sender.key,
            tenant=sender.tenant,
            service=found.service,
            id=found.id,
            integration=found,
            enabled=found.enabled,
            mapping=found.mapping,
            signature=found.signature,
            signature_secret=found.signature_secret,
            rate_limit=rate_limit(found),
        )

    def has_service(self, tenant: str, service_id: str) -> bool:
        """Whether the configuration declares this service."""
        return (tenant, service_id) in self._control.services

    def heartbeat(self, key: str) -> Heartbeat | None:
        """The monitor of this key, enabled or not, or None."""
        self._follow()
        return self._heartbeats.get(key)

    def _integration_of(self, tenant: str, slug: str) -> Integration | None:
        self._follow()
        return self._by_type.get((tenant, slug))

    def _follow(self) -> None:
        if self._version != self._control.version:
            self._version = self._control.version
            # The preferred integration comes last, because it overwrites the others in the dictionary.
            every = sorted(self._control.integrations.values(), key=lambda i: (not i.enabled, i.id), reverse=True)
            self._by_type = {(found.tenant, found.type): found for found in every}
            heartbeats = self._control.every(Heartbeat).values()
            self._heartbeats = {found.key: found for found in heartbeats if found.key is not None}


def unsigned(control: Control) -> list[str]:
    """The names of enabled integrations that could sign and do not, sorted."""
    return sorted(found.name for found in control.integrations.values() if found.enabled and could_sign(found))


class _Routed(msgspec.Struct):
    routing_key: str | None = None


_routed = msgspec.json.Decoder(_Routed)
_ROUTING_KEY = re.compile(rb'"routing_key"\s*:\s*"([0-9a-f]{32})"')


def authorization(header: Header, scheme: str) -> str | None:
    """The header Authorization after the scheme (lower case, with its space); None without it or for another scheme."""
    value = header("authorization")
    return value[len(scheme) :].strip() if value is not None and value[: len(scheme)].lower() == scheme else None


def token(header: Header) -> str | None:
    """The key of `Authorization: Token token=<key>`, None without such a header."""
    found = authorization(header, "token ")
    return None if found is None else found.removeprefix("token=").strip('"')


def integration_id(query: str) -> str | None:
    """The parameter `integrationId` of a query string."""
    return key_and_rest(query)[0]


def key_and_rest(query: str) -> tuple[str | None, str]:
    """The key in a query string (None without one), and the query without the key.

    A key has 32 characters. The rest of the value is not part of the key: UptimeRobot puts its own parameters right
    behind the URL it is given, other tools a slash.

    >>> key_and_rest("integrationId=0123456789abcdef0123456789abcdefmonitorID=5&b=2")
    ('0123456789abcdef0123456789abcdef', 'monitorID=5&b=2')
    """
    if query.startswith("integrationId=") and len(query) == 46:  # the URL as the catalogue shows it
        return query[14:], ""
    key, rest = None, []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote(name) != INTEGRATION_ID:
            rest.append(part)
            continue
        key = key or unquote(value[:KEY_LENGTH])
        if behind := value[KEY_LENGTH:].lstrip("?/"):
            rest.append(behind)
    return key or None, "&".join(rest)


def key_in(body: bytes) -> str | None:
    """The routing key in a body that its provider rejected, so that the answer is the reason instead of 401."""
    try:
        return _routed.decode(body).routing_key
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _ROUTING_KEY.search(body)
        return found[1].decode() if found else None


def check_signature(proofs: Sequence[Proof], header: Header, body: bytes, now: float) -> str:
    """The mark (streams.policy.signature.mark) of the first proof that holds at `now`, Unix seconds.

    Refuses with 401 if no proof holds; the reason is the first that is not a missing header.
    """
    reasons = []
    for scheme, secret in proofs:
        reason = verify(scheme, secret, header, body, now)
        if reason is None:
            return mark(scheme, header)
        reasons.append(reason)
    wrong = next((reason for reason in reasons if reason != "missing_header"), "missing_header")
    raise Refusal(UNVERIFIED[wrong] if reasons else MISSING_SECRET)
