"""The sender that a request counts for: an integration, the owner of an API key, or a monitor's heartbeat."""

from typing import NamedTuple

from schemas.control import (
    DEFAULT_RATE_LIMIT,
    ApiKey,
    FieldMapping,
    Integration,
    RateLimit,
    SignaturePolicy,
)
from streams.control import catalogue
from streams.providers import PROVIDERS

NO_MAPPING = FieldMapping()


class ApiSender(NamedTuple):
    """The sender behind an API key, as an Integration is the sender behind its key.

    With `integration`, the tenant's own integration of the provider, the request counts for that integration; without
    it, `id` is `apikey/<its id>`, never the key itself.
    """

    key: ApiKey
    tenant: str
    service: str
    id: str
    integration: Integration | None = None
    enabled: bool = True
    mapping: FieldMapping = NO_MAPPING
    signature: SignaturePolicy | None = None
    signature_secret: str | None = None
    rate_limit: RateLimit = DEFAULT_RATE_LIMIT


class HeartbeatSender(NamedTuple):
    """What beats a monitor; `id` is `heartbeat/<tenant>/<its id>`, never its key."""

    tenant: str
    service: str
    id: str
    enabled: bool = True
    integration: None = None
    mapping: FieldMapping = NO_MAPPING
    signature: SignaturePolicy | None = None
    signature_secret: None = None
    rate_limit: RateLimit = DEFAULT_RATE_LIMIT


Sender = Integration | ApiSender | HeartbeatSender


def rate_limit(sender: Sender) -> RateLimit:
    """Requests a minute that a sender may send."""
    return catalogue.rate_limit(sender) if isinstance(sender, Integration) else sender.rate_limit


def installation(sender: Sender) -> str:
    """What stands for the sender's installation where keys of alerts count inside one only, else "".

    The integration decides, not the format of the request: an end that comes by the Events API with the key of an
    integration is the end of that integration's alert.
    """
    integration = sender if isinstance(sender, Integration) else sender.integration
    provider = PROVIDERS.get(integration.type) if integration is not None else None
    if integration is None or provider is None or provider.key_scope == "global":
        return ""
    return integration.own_installation
