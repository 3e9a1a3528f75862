"""Who sends this: keys, API keys and signatures. Every failure is a Refusal."""

import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from schemas.control import ApiKey, Control, FieldMapping, Integration
from schemas.signature import HmacHex, verify
from streams.gateway.answers import DISABLED, NO_SCOPE, UNAUTHORIZED, UNKNOWN_SERVICE, UNVERIFIED, Refusal
from streams.providers import BadBody, Provider

#: A request's header by its lower-case name, None when it was not sent.
Header = Callable[[str], str | None]
GENERAL_SIGNATURE = HmacHex(("x-signature", "x-webhook-signature", "x-hub-signature-256"))
SCOPE = "events:write"

_ROUTING_KEY = re.compile(rb'"routing_key"\s*:\s*"([0-9a-f]{32})"')
NO_MAPPING = FieldMapping()


class ApiSender(NamedTuple):
    """For whom a request with an API key counts. `id` is `apikey/<its id>`, never the key itself."""

    tenant: str
    service: str
    id: str


#: For whom an accepted request counts; `id` is what its record names as integration.
Sender = Integration | ApiSender


def token(header: Header) -> str | None:
    """The key of `Authorization: Token token=<key>`, None without such a header."""
    value = header("authorization")
    if value is None or value[:6].lower() != "token ":
        return None
    return value[6:].strip().removeprefix("token=").strip('"')


def bearer(header: Header) -> str | None:
    """The key of `Authorization: Bearer <key>`, None without such a header."""
    value = header("authorization")
    return value[7:].strip() if value is not None and value[:7].lower() == "bearer " else None


def integration_id(query: str) -> str | None:
    """The parameter `integrationId` of a query string."""
    if query.startswith("integrationId=") and len(query) == 46:  # the URL as we hand it out
        return query[14:]
    found = parse_qs(query).get("integrationId")
    return found[0] if found else None


def key_in(body: bytes) -> str | None:
    """The routing key in a body that is no event, so that its owner hears why instead of 401."""
    found = _ROUTING_KEY.search(body)
    return found[1].decode() if found else None


def by_key(control: Control, key: str | None) -> Integration:
    """The enabled integration of this key. Refuses with 401, or 403 when it is disabled."""
    found = control.integrations.get(key) if key else None
    if found is None:
        raise Refusal(UNAUTHORIZED)
    if not found.enabled:
        raise Refusal(DISABLED)
    return found


def by_api_key(control: Control, key: str) -> ApiKey:
    """The API key's record, if it may write events. Refuses with 401 or 403."""
    found = control.apikeys.get(sha256(key.encode("utf-8", "surrogatepass")).hexdigest())
    if found is None:
        raise Refusal(UNAUTHORIZED)
    if SCOPE not in found.scopes:
        raise Refusal(NO_SCOPE)
    return found


def check_signature(provider: Provider[Any], integration: Integration, header: Header, body: bytes) -> None:
    """The provider's own signature, or HMAC-SHA256 in a general header; only if the integration has a secret."""
    secret = integration.signature_secret
    if secret is None:
        return
    reason = verify(provider.signature or GENERAL_SIGNATURE, secret, header, body, time.time())
    if reason is not None:
        raise Refusal(UNVERIFIED[reason])


def sender_by_service(control: Control, key: ApiKey, service_id: str | None) -> ApiSender:
    """The sender behind an API key: the body names the service. BadBody without it, 404 if unknown."""
    if not service_id:
        raise BadBody("service_id", "is required with an API key")
    if (key.tenant, service_id) not in control.services:
        raise Refusal(UNKNOWN_SERVICE)
    return ApiSender(key.tenant, service_id, f"apikey/{key.id}")
