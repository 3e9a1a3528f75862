"""API keys, for tenants that send alerts without an integration."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.control.destination import SecretMark
from schemas.control.record import DEFAULT_RATE_LIMIT, DEFAULT_TENANT, AnyRecord, Name, RateLimit


class ApiKey(AnyRecord):
    """A tenant's key for `/api/events` (Bearer), `/v2/alerts` (GenieKey) and `/v1/webhooks` (X-API-Key).

    The record stores only the SHA-256 of the key and `prefix`, its first characters, by which people recognise it.
    Requests to `/v1/webhooks` with this key are signed with `webhook_secret`; `rate_limit` is in requests a minute
    that do not belong to an integration. A tenant may have two keys at once (rotation); deleting the record revokes
    the key.
    """

    per_tenant: ClassVar[bool] = False

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = Field(default="", max_length=200)
    prefix: str = Field(default="", max_length=12)
    sha256: Annotated[str, SecretMark(hashed=True)] = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    scopes: tuple[Literal["events:write"], ...] = ("events:write",)
    rate_limit: RateLimit = DEFAULT_RATE_LIMIT
    webhook_secret: Annotated[str | None, SecretMark()] = Field(default=None, min_length=8, repr=False)
