"""Services and what they depend on: three families, and the errors with which a topology is handed over.

Dependencies never form a cycle: services are listed so that each depends on earlier ones only.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

Family = Literal["dag", "rack", "shared"]
FAMILIES: tuple[Family, ...] = ("dag", "rack", "shared")


@dataclass(frozen=True)
class Topology:
    """`depends_on` has every service and, per service, those that it needs; `owners` and `clusters` are per service."""

    depends_on: dict[str, tuple[str, ...]]
    owners: dict[str, str]
    clusters: dict[str, str]

    def dependents(self) -> dict[str, list[str]]:
        """Per service those that need it directly."""
        found: dict[str, list[str]] = {service: [] for service in self.depends_on}
        for service, needs in self.depends_on.items():
            for need in needs:
                found[need].append(service)
        return found

    def downstream(self, service: str) -> set[str]:
        """All that need the service, directly or not, without itself."""
        direct = self.dependents()
        found: set[str] = set()
        waiting = [service]
        while waiting:
            for dependent in direct[waiting.pop()]:
                if dependent not in found:
                    found.add(dependent)
                    waiting.append(dependent)
        return found

    def with_errors(self, missing: float, wrong: float, chance: Random) -> "Topology":
        """A copy of which the share `missing` of all edges is left out, and the share `wrong` leads to another service.

        A wrong edge leads to an earlier service, so that there is still no cycle; an edge that has no other earlier
        service to lead to stays as it is.
        """
        order = list(self.depends_on)
        rank = {service: place for place, service in enumerate(order)}
        edges = [(service, need) for service, needs in self.depends_on.items() for need in needs]
        left_out = round(missing * len(edges))
        spoilt = min(round(wrong * len(edges)), len(edges) - left_out)
        drawn = chance.sample(range(len(edges)), left_out + spoilt)
        absent, false = set(drawn[:left_out]), set(drawn[left_out:])
        kept: dict[str, list[str]] = {service: [] for service in order}
        for place, (service, need) in enumerate(edges):
            if place in absent:
                continue
            others = [other for other in order[: rank[service]] if other not in self.depends_on[service]]
            target = chance.choice(others) if place in false and others else need
            if target not in kept[service]:
                kept[service].append(target)
        return replace(self, depends_on={service: tuple(needs) for service, needs in kept.items()})

    def handed_over(self) -> dict[str, Any]:
        """The topology as a run is given it, for JSON."""
        return {
            service: {"owner": self.owners[service], "cluster": self.clusters[service], "depends_on": list(needs)}
            for service, needs in self.depends_on.items()
        }


def build(family: Family, chance: Random) -> Topology:
    """A topology of the family, of about 130 services."""
    return {"dag": _dag, "rack": _rack, "shared": _shared}[family](chance)


def switch(services: int) -> Topology:
    """One switch, and so many services that all need it."""
    names = [f"host-{number:03}" for number in range(services)]
    return _with_owners({"switch-1": (), **dict.fromkeys(names, ("switch-1",))}, Random(0), clusters=1)


def _dag(chance: Random) -> Topology:
    """Five layers; each service needs one to three of the layer below, sometimes one of two below."""
    layers: list[list[str]] = []
    depends_on: dict[str, tuple[str, ...]] = {}
    for depth, size in enumerate((10, 20, 30, 40, 30)):
        layers.append([f"svc-{depth}-{number:02}" for number in range(size)])
        for service in layers[depth]:
            needs: list[str] = []
            if depth:
                needs = chance.sample(layers[depth - 1], chance.choice((1, 1, 2, 3)))
            if depth > 1 and chance.random() < 0.2:
                needs.append(chance.choice(layers[depth - 2]))
            depends_on[service] = tuple(needs)
    return _with_owners(depends_on, chance)


def _rack(chance: Random) -> Topology:
    """Two core switches, one per half; 4 rows each of a core, 4 racks a row, 3 to 4 hosts a rack."""
    depends_on: dict[str, tuple[str, ...]] = {"core-0": (), "core-1": ()}
    rows = {f"row-{number}": (f"core-{number // 4}",) for number in range(8)}
    racks = {f"rack-{row}-{number}": (f"row-{row}",) for row in range(8) for number in range(4)}
    hosts = {f"host-{rack[5:]}-{n}": (rack,) for rack in racks for n in range(chance.choice((3, 4)))}
    return _with_owners({**depends_on, **rows, **racks, **hosts}, chance)


def _shared(chance: Random) -> Topology:
    """Eight shared databases and queues; each of 120 services needs one or two, and a quarter needs another service."""
    stores = [f"{kind}-{number}" for kind in ("db", "queue") for number in range(4)]
    depends_on: dict[str, tuple[str, ...]] = dict.fromkeys(stores, ())
    apps: list[str] = []
    for number in range(120):
        needs = chance.sample(stores, chance.choice((1, 1, 1, 2)))
        if apps and chance.random() < 0.25:
            needs.append(chance.choice(apps))
        apps.append(f"app-{number:03}")
        depends_on[apps[-1]] = tuple(needs)
    return _with_owners(depends_on, chance)


def _with_owners(depends_on: dict[str, tuple[str, ...]], chance: Random, clusters: int = 4) -> Topology:
    """Ten teams own the services; a service is in the cluster of what it first needs, mostly."""
    owners = {service: f"team-{chance.randrange(10)}" for service in depends_on}
    places: dict[str, str] = {}
    for service, needs in depends_on.items():
        if needs and chance.random() < 0.8:
            places[service] = places[needs[0]]
        else:
            places[service] = f"cluster-{chance.randrange(clusters)}"
    return Topology(depends_on, owners, places)
