"""Routing: which leaves of the tenant's trees an incident comes to, as Alertmanager walks its tree.

- Routes below one parent are tried in order, until one matches that does not `continue`; roots are such routes too.
- The deepest match wins: a route that matches is itself a leaf if no route below it matches.
- What a route does not say is its parent's (schemas.control.route says what).

Each list of siblings has an index by what their conditions demand, so an incident is not compared with every route.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from schemas.control import Route
from schemas.control.route import EACH, Branch
from schemas.fingerprint import digest
from schemas.wire.incident import Incident
from streams.policy.calendars import Hours, inside
from streams.policy.language import INCIDENT_FIELDS, field
from streams.policy.matching import Matching


class Timers(NamedTuple):
    """When the messages of a group leave (streams.policy.grouping), in milliseconds."""

    wait: int = 30_000
    interval: int = 300_000
    repeat: int = 4 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A route that takes incidents, with what it inherits.

    `id` is the root's id and the places of the routes below it: `main/0/2`. `key` stands for the same by what these
    match, so that it stays when routes are put before others. `destinations` and `escalation` are told.
    """

    id: str
    key: str
    tenant: str
    destinations: tuple[str, ...]
    escalation: str | None
    group_by: tuple[str, ...]
    getters: tuple[Callable[[Incident], str], ...]
    timers: Timers
    mute_calendars: tuple[str, ...]
    active_calendars: tuple[str, ...]

    def group_key(self, incident: Incident) -> bytes:
        """16 bytes that stand for the incident's group: the leaf, and the values of `group_by`."""
        if self.group_by == (EACH,):
            return digest(self.tenant, self.key, EACH, incident.incident_id.hex())
        named = (part for name, get in zip(self.group_by, self.getters, strict=True) for part in (name, get(incident)))
        return digest(self.tenant, self.key, *named)

    def muted_by(self, hours: Mapping[tuple[str, str], Hours], now: int) -> str:
        """Why nothing is told at `now` (milliseconds since 1970 UTC), as `calendar/<id>`; "" if it is told.

        An open mute calendar mutes, and active calendars of which none is open. An unknown calendar mutes nothing.
        """
        for name in self.mute_calendars:
            calendar = hours.get((self.tenant, name))
            if calendar is not None and inside(calendar.calendar, now):
                return f"calendar/{name}"
        active = [hours.get((self.tenant, name)) for name in self.active_calendars]
        if active and all(each is not None and not inside(each.calendar, now) for each in active):
            return f"calendar/{self.active_calendars[0]}"
        return ""


class Routes:
    """The trees of every tenant, compiled once; a Routes never changes."""

    def __init__(self, records: Iterable[Route] = ()) -> None:
        by_tenant: dict[str, list[Route]] = {}
        for record in sorted(records, key=lambda record: (record.order, record.id)):
            by_tenant.setdefault(record.tenant, []).append(record)
        self._roots = {
            tenant: _Siblings([(root, _node(root, _top(root), root.id, root.id)) for root in roots])
            for tenant, roots in by_tenant.items()
        }
        self._leaves = {
            (tenant, leaf.key): leaf for tenant, siblings in self._roots.items() for leaf in siblings.leaves()
        }

    def leaf(self, tenant: str, key: str) -> Leaf | None:
        """The route with this key, if there is one."""
        return self._leaves.get((tenant, key))

    def match(self, incident: Incident) -> list[Leaf]:
        """The leaves that take the incident, in order; none for a tenant without routes, or if no root matches."""
        roots = self._roots.get(incident.tenant)
        return roots.match(incident) if roots is not None else []


class _Node(NamedTuple):
    leaf: Leaf
    below: "_Siblings | None"

    def match(self, incident: Incident) -> list[Leaf]:
        """The leaves below, or this one; it is known to match."""
        return (self.below.match(incident) if self.below is not None else []) or [self.leaf]


class _Siblings:
    """Routes below one parent. One whose conditions do not compile takes nothing, which leaves it to the parent."""

    def __init__(self, nodes: Sequence[tuple[Branch, _Node]]) -> None:
        self._nodes = [(node, branch.continue_) for branch, node in nodes]
        self._index = Matching((branch.match, place) for place, (branch, _) in enumerate(nodes))

    def leaves(self) -> Iterator[Leaf]:
        """All routes, also those that others inherit from."""
        for node, _ in self._nodes:
            yield node.leaf
            if node.below is not None:
                yield from node.below.leaves()

    def match(self, incident: Incident) -> list[Leaf]:
        found: list[Leaf] = []
        for place in sorted(self._index.find(incident)):
            node, goes_on = self._nodes[place]
            found += node.match(incident)
            if not goes_on:
                break
        return found


def _top(root: Route) -> Leaf:
    """What a root inherits. Incidents of one service share a group unless it says something else."""
    return Leaf(
        id="",
        key="",
        tenant=root.tenant,
        destinations=(),
        escalation=None,
        group_by=("service",),
        getters=(),
        timers=Timers(),
        mute_calendars=(),
        active_calendars=(),
    )


def _node(branch: Branch, parent: Leaf, name: str, key: str) -> _Node:
    leaf = _leaf(branch, parent, name, key)
    below: list[tuple[Branch, _Node]] = []
    alike: Counter[str] = Counter()
    for index, each in enumerate(branch.routes):
        matched = digest(*each.match).hex()
        alike[matched] += 1  # of several that match the same, the place among these counts
        part = matched if alike[matched] == 1 else f"{matched}.{alike[matched]}"
        below.append((each, _node(each, leaf, f"{name}/{index}", f"{key}/{part}")))
    return _Node(leaf, _Siblings(below) if below else None)


def _leaf(branch: Branch, parent: Leaf, name: str, key: str) -> Leaf:
    inherits = branch.destinations is None and branch.escalation is None
    group_by = parent.group_by if branch.group_by is None else branch.group_by
    return Leaf(
        id=name,
        key=key,
        tenant=parent.tenant,
        destinations=parent.destinations if inherits else branch.destinations or (),
        escalation=parent.escalation if inherits else branch.escalation,
        group_by=group_by,
        getters=tuple(field(each, INCIDENT_FIELDS) for each in group_by if each != EACH),
        timers=Timers(
            _ms(branch.group_wait, parent.timers.wait),
            _ms(branch.group_interval, parent.timers.interval),
            _ms(branch.repeat_interval, parent.timers.repeat),
        ),
        mute_calendars=branch.mute_calendars,
        active_calendars=branch.active_calendars,
    )


def _ms(seconds: int | None, inherited: int) -> int:
    return inherited if seconds is None else seconds * 1000
