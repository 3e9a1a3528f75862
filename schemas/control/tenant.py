"""Customers of one installation."""

from pydantic import Field

from schemas.control.record import Name, RateLimit, Record


class Tenant(Record):
    """A customer of this installation. All of its integrations together may send `rate_limit` requests a minute."""

    id: Name
    name: str = Field(default="", max_length=200)
    rate_limit: RateLimit = "unlimited"
