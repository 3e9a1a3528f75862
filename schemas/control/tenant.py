"""Customers of one installation."""

from pydantic import Field

from schemas.control.record import Name, RateLimit, Record, SeverityName


class Tenant(Record):
    """A customer of this installation. All of its integrations together may send `rate_limit` requests a minute.

    `severity_routes` are the destinations of alerts for which neither a rule nor the service names one.
    """

    id: Name
    name: str = Field(default="", max_length=200)
    rate_limit: RateLimit = "unlimited"
    severity_routes: dict[SeverityName, tuple[Name, ...]] = Field(default_factory=dict)
