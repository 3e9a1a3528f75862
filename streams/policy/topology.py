"""Which services depend on which: whose incident may be the cause of another's, and which are decided on together.

`depends_on` names the services that a service needs; these are upstream of it. A cycle, which `apply` refuses, ends at
the first service that comes twice. Services that depend on nothing, and nothing on them, are not known to the topology;
those of one named domain are peers: they may fail together.
"""

from collections.abc import Iterable, Mapping, Sequence

from schemas.control import Service, Tenant

#: Services upstream that are looked at, the nearest first.
MAX_UPSTREAM = 200


class Topology:
    """The services of every tenant, compiled once; a Topology never changes.

    A tenant of `tenants` that has a storm is one domain: what opens in it is counted in one place.
    """

    def __init__(self, services: Iterable[Service] = (), tenants: Iterable[Tenant] = ()) -> None:
        services = list(services)
        self._whole = frozenset(tenant.id for tenant in tenants if tenant.storm is not None)
        self._up: dict[tuple[str, str], tuple[str, ...]] = {}
        self._named: dict[tuple[str, str], str] = {}
        needed: set[tuple[str, str]] = set()
        for service in services:
            if service.depends_on:
                self._up[service.tenant, service.id] = service.depends_on
                needed.update((service.tenant, name) for name in service.depends_on)
            if service.domain is not None:
                self._named[service.tenant, service.id] = service.domain
        self._known = frozenset(needed | self._up.keys())
        self._roots = _components(self._up)
        self._domains = {root: name for place, name in self._named.items() if (root := self._roots.get(place))}
        self._upstream: dict[tuple[str, str], Sequence[str]] = {}

    def domain(self, tenant: str, service: str) -> str:
        """What the service's incidents are decided on with: its named domain, or that of a service it is connected to;
        else the smallest name of the services it is connected to; "" for a service that is connected to none, and for
        a tenant that is one domain.
        """
        if tenant in self._whole:
            return ""
        place = tenant, service
        root = self._roots.get(place)
        if root is None:
            return self._named.get(place, "")
        return self._domains.get(root, root[1])

    def is_known(self, tenant: str, service: str) -> bool:
        """Whether this service depends on another one, or another one on it."""
        return (tenant, service) in self._known

    def peers_of(self, tenant: str, service: str) -> str:
        """The named domain of a service that the topology does not know, else ""."""
        place = tenant, service
        return "" if place in self._known else self._named.get(place, "")

    def upstream(self, tenant: str, service: str) -> Sequence[str]:
        """The services that this one depends on, directly or not, the nearest first."""
        place = tenant, service
        if place not in self._up:
            return ()
        found = self._upstream.get(place)
        if found is None:
            found = self._upstream[place] = _above(self._up, tenant, service)
        return found

    def needs(self, tenant: str, service: str) -> tuple[str, ...]:
        """The services that this one depends on directly."""
        return self._up.get((tenant, service), ())


def cycle(services: Iterable[Service]) -> tuple[Service, list[str]] | None:
    """A service whose dependencies lead back to it, and the names on the way, from it to it; None if there is none."""
    by_place = {(service.tenant, service.id): service for service in services}
    done: set[tuple[str, str]] = set()
    for start in by_place:
        if start in done:
            continue
        # The way from the start, each service with those above it that are not walked yet. Each is walked once.
        way = {start: iter(by_place[start].depends_on)}
        while way:
            here = next(reversed(way))
            above = next(((here[0], name) for name in way[here] if (here[0], name) not in done), None)
            if above is None:
                done.add(here)
                del way[here]
            elif above in way:
                places = [*way]
                return by_place[above], [name for _, name in [*places[places.index(above) :], above]]
            elif above in by_place:
                way[above] = iter(by_place[above].depends_on)
    return None


def _above(up: Mapping[tuple[str, str], tuple[str, ...]], tenant: str, service: str) -> list[str]:
    found: dict[str, None] = {}
    nearest = [service]
    while nearest and len(found) < MAX_UPSTREAM:
        above = [name for each in nearest for name in up.get((tenant, each), ())]
        nearest = [name for name in dict.fromkeys(above) if name not in found and name != service]
        found.update(dict.fromkeys(nearest))
    return list(found)[:MAX_UPSTREAM]


def _components(up: Mapping[tuple[str, str], tuple[str, ...]]) -> dict[tuple[str, str], tuple[str, str]]:
    """The smallest service of the connected component of each service that has a dependency (union-find)."""
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def find(place: tuple[str, str]) -> tuple[str, str]:
        parents.setdefault(place, place)
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for place, names in up.items():
        for name in names:
            one, other = find(place), find((place[0], name))
            if one != other:
                parents[max(one, other)] = min(one, other)
    return {place: find(place) for place in parents}
