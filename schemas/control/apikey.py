"""Keys of tenants that send without an integration."""

from typing import Literal

from pydantic import Field

from schemas.control.record import DEFAULT_RATE_LIMIT, DEFAULT_TENANT, Name, RateLimit, Record


class ApiKey(Record):
    """A tenant's key for `/api/events` (Bearer), `/v2/alerts` (GenieKey) and `/v1/webhooks` (X-API-Key).

    Only the SHA-256 of the key is stored, and `prefix`, its first characters, for people to know it by.
    `webhook_secret` signs what is sent to `/v1/webhooks` with this key; `rate_limit` counts requests a minute that
    are no integration's. Two keys may live at once (rotation); deleting the record revokes one.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = Field(default="", max_length=200)
    prefix: str = Field(default="", max_length=12)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Literal["events:write"], ...] = ("events:write",)
    rate_limit: RateLimit = DEFAULT_RATE_LIMIT
    webhook_secret: str | None = Field(default=None, min_length=8, repr=False)
