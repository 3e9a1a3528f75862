"""The sender that a request counts for: an integration, or the owner of an API key."""

from typing import NamedTuple

from schemas.control import DEFAULT_RATE_LIMIT, ApiKey, FieldMapping, Integration, RateLimit, SignaturePolicy
from streams.control import catalogue

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

    @property
    def installation(self) -> str:
        """The integration's installation, "" without an integration."""
        return self.integration.installation if self.integration is not None else ""


#: The sender that an accepted request counts for; the request's record names `id` as its integration.
Sender = Integration | ApiSender


def rate_limit(sender: Sender) -> RateLimit:
    """Requests a minute that a sender may send."""
    return catalogue.rate_limit(sender) if isinstance(sender, Integration) else sender.rate_limit
