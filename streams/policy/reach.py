"""Whether anybody may have to be told of an incident, and where that is decided."""

from collections.abc import Iterable, Sequence

from schemas.control import Inhibition, Route, Service, Tenant
from streams.policy.topology import Topology

#: The cache of domains is cleared when it has more than this many: producers choose names of services freely.
_MAX_CACHED = 10_000


class Reach:
    """The settings of every tenant, compiled once. What is not set costs two look-ups."""

    def __init__(
        self,
        tenants: Iterable[Tenant] = (),
        services: Iterable[Service] = (),
        inhibitions: Iterable[Inhibition] = (),
        routes: Iterable[Route] = (),
    ) -> None:
        tenants = list(tenants)
        self._tenants = {tenant.id for tenant in tenants if tenant.severity_routes}
        # A source of an inhibition counts although nobody is told of it.
        self._tenants |= {inhibition.tenant for inhibition in inhibitions}
        self._tenants |= {route.tenant for route in routes}
        services = list(services)
        self._topology = Topology(services, tenants)
        self._services = {
            (service.tenant, service.id)
            for service in services
            if service.destinations or service.escalation or service.sla
        }
        self._places: dict[tuple[str, str], str] = {}

    def anybody(self, tenant: str, service: str, routes: Sequence[str]) -> bool:
        """Whether an incident of this service, which rules route to `routes`, may reach anybody."""
        return bool(routes) or tenant in self._tenants or (tenant, service) in self._services

    def domain(self, tenant: str, service: str) -> str:
        """The key on `incidents.changes`: incidents with the same key are decided on together, in one order."""
        place = tenant, service
        found = self._places.get(place)
        if found is None:
            if len(self._places) > _MAX_CACHED:
                self._places.clear()
            found = self._places[place] = f"{tenant}/{self._topology.domain(tenant, service)}"
        return found
