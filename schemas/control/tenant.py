"""Customers of one installation."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from schemas.control.record import AnyRecord, Name, RateLimit, Reference, SeverityName, references
from schemas.control.storm import Storm


class Tenant(AnyRecord):
    """A customer of this installation. All of its integrations together may send `rate_limit` requests a minute.

    `severity_routes` are the destinations of alerts for which neither a rule nor the service names one.

    An incident may be the cause of one downstream that opens within `topology_window` seconds before or after it. What
    is downstream waits `topology_hold` seconds for its cause to be seen. If only `storms` are causes, single incidents
    that open by chance at the same time are not taken for cause and effect. What opens at most `topology_peers` seconds
    after the storm of another service is told with that one, if both have the same domain and no known dependency.

    With `storm`, what opens in all services together is counted: in a storm one incident is told for all. All incidents
    of the tenant are then decided on in one place.
    """

    per_tenant: ClassVar[bool] = False

    id: Name
    name: str = Field(default="", max_length=200)
    rate_limit: RateLimit = "unlimited"
    severity_routes: dict[SeverityName, tuple[Name, ...]] = Field(default_factory=dict)
    topology_window: int = Field(default=300, ge=1, le=3600)
    topology_hold: int = Field(default=15, ge=0, le=300)
    topology_peers: int = Field(default=0, ge=0, le=600)
    topology_causes: Literal["incidents", "storms"] = "incidents"
    storm: Storm | None = None

    @property
    def owner(self) -> str:
        """Itself."""
        return self.id

    def references(self) -> Iterator[Reference]:
        """The destinations of each severity."""
        for severity, names in self.severity_routes.items():
            yield from references(f"severity_routes.{severity}", "destination", names)
