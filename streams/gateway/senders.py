"""For whom a request counts: an integration, or who is behind an API key."""

from typing import NamedTuple

from schemas.control import DEFAULT_RATE_LIMIT, ApiKey, FieldMapping, Integration, RateLimit, SignaturePolicy
from streams.control import catalogue

NO_MAPPING = FieldMapping()


class ApiSender(NamedTuple):
    """The sender behind an API key, as an Integration is one behind its key.

    With `integration`, the tenant's own of the provider, it is that integration who sends; without, `id` is
    `apikey/<its id>`, never the key itself.
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

    @property
    def installation(self) -> str:
        """That of the integration."""
        return self.integration.installation if self.integration is not None else ""


#: For whom an accepted request counts; `id` is what its record names as integration.
Sender = Integration | ApiSender


def rate_limit(sender: Sender) -> RateLimit:
    """Requests a minute that a sender may send."""
    return catalogue.rate_limit(sender) if isinstance(sender, Integration) else sender.rate_limit
