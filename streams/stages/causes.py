"""Which open incident is the cause of another one, by the topology of services (streams.policy.topology).

A failure passes from service to service, so an incident comes from one of a service that its own one needs: of several
the one that opened last before it, for a failure that is long there has passed on already. That one comes from another
one, and so on: the incident at which this ends is the cause. Where nothing directly needed has an open incident, any
service upstream may be next on the way, since alerts may be missing; then an earlier incident of the same service. Two
on the way that follow each other opened within the tenant's window.

Services that the topology does not know may be peers: those with one named domain (streams.policy.topology). An
incident of one comes from the storm of another that opened last before it, if that is a short time ago.

An incident is a cause only if it is urgent and somebody is told of it: nothing that somebody must hear of is hidden. A
tenant may demand that it is a storm, too; then only storms are on the way.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain

from schemas.wire.incident import Incident
from streams.policy.incidents import is_storm
from streams.stages import tenant_storms
from streams.stages.dispatch_settings import Settings
from streams.stages.dispatch_table import Opening, Table, Told

#: How a reason begins that names a cause.
REASON = "cause/"
#: A cause that was found stays the cause from then on, while it is open: what is seen later is not more right, since
#: what was on the way may be over.
SETTLED_MS = 60_000
#: What outlives its cause waits so long for its own end before it is told.
OUTLIVE_MS = 60_000
#: The incident that is told for all that outlived a cause is remembered for so long, or until it is over.
_HEIR_MS = 7 * 86_400_000


def register(table: Table, settings: Settings, incident: Incident) -> None:
    """Have an urgent incident count as a possible cause."""
    if settings.topology.is_known(incident.tenant, incident.service):
        table.add_cause(incident, incident.tenant, incident.service)
    elif is_storm(incident) and (peers := settings.peers(incident.tenant, incident.service)):
        table.add_cause(incident, incident.tenant, *peers)


def withdraw(table: Table, settings: Settings, incident: Incident) -> None:
    """The incident is over: it is no cause any more."""
    table.drop_cause(incident, incident.tenant, incident.service)
    if peers := settings.peers(incident.tenant, incident.service):
        table.drop_cause(incident, incident.tenant, *peers)


def find(table: Table, settings: Settings, told: Told, now: int) -> tuple[bytes | None, int]:
    """The open incident that is the cause of this one, and until when to wait for one, in milliseconds."""
    incident = told.incident
    known = settings.topology.is_known(incident.tenant, incident.service)
    if not (known or settings.peers(incident.tenant, incident.service)):
        return None, 0
    search = _Search(table, settings, incident)
    before = table.incident(told.parent) if told.parent else None
    if before is not None and not (_is_told(before) and search.may_come_from(before.incident)):
        before = None
    if before is not None and now >= told.since + SETTLED_MS:
        return told.parent, 0
    for cause in reversed(list(search.way())):
        if _is_told(cause):
            return cause.incident.incident_id, 0
    if before is not None:
        return told.parent, 0  # what was between them is over
    waits = incident.urgency == "low" or settings.topology.needs(incident.tenant, incident.service)
    until = told.since + settings.causes(incident.tenant).hold if known and waits else 0
    return None, max(until, search.until)


def outlived(table: Table, told: Told, now: int) -> tuple[bytes | None, int]:
    """What keeps an incident that outlived its cause: the first one of those that did, which is told for all.

    Before one is told they wait for their own ends, which often come a little later than that of the cause.
    """
    heir = table.heir(told.family)
    if heir and heir != told.incident.incident_id and table.incident(heir) is not None:
        return heir, 0
    told.alone_at = told.alone_at or now
    if now < told.alone_at + OUTLIVE_MS:
        return None, told.alone_at + OUTLIVE_MS
    table.keep_heir(told.family, told.incident.incident_id, now + _HEIR_MS)
    return None, 0


class _Search:
    """The search for the cause of an incident, which must be a storm if the tenant says so.

    An incident that is passed over because it is no storm may still become one: `until` is the time, in milliseconds,
    from which none of those seen can, 0 if there was none.
    """

    def __init__(self, table: Table, settings: Settings, incident: Incident) -> None:
        self._table = table
        self._settings = settings
        self._incident = incident
        self._causes = settings.causes(incident.tenant)
        self.until = 0

    def way(self) -> Iterator[Told]:
        """The open incidents from which this one comes, one after the other."""
        here, seen = self._incident, {self._incident.service}
        while (found := self._before(here, seen)) is not None:
            yield found
            if (known := self._known_cause(found)) is not None:
                yield known
                return
            here = found.incident
            seen.add(here.service)

    def _known_cause(self, effect: Told) -> Told | None:
        """The incident that people hear of for one that is an effect already."""
        known, seen = None, {self._incident.incident_id}
        while effect.kept.startswith(REASON) and effect.parent not in seen:
            above = self._table.incident(effect.parent)
            if above is None:
                break
            seen.add(effect.parent)
            known = effect = above
        return known

    def may_come_from(self, cause: Incident) -> bool:
        """Whether the topology of now allows this cause."""
        tenant, service = self._incident.tenant, self._incident.service
        if cause.service == service or cause.service in self._settings.topology.upstream(tenant, service):
            return True
        peers = self._settings.peers(tenant, service)
        return bool(peers) and peers == self._settings.peers(tenant, cause.service)

    def _before(self, here: Incident, seen: set[str]) -> Told | None:
        """The incident from which this one comes directly."""
        topology, tenant, service = self._settings.topology, here.tenant, here.service
        for names in (topology.needs(tenant, service), topology.upstream(tenant, service)):
            openings = [each for name in names if name not in seen and (each := self._table.causes(tenant, name))]
            for opening in _nearest(here.opened_at, openings, self._causes.window):
                if (found := self._on_the_way(opening)) is not None:
                    return found
        for opening in self._earlier_ones(here):
            if (found := self._on_the_way(opening)) is not None:
                return found
        if peers := self._settings.peers(tenant, service):
            beside = self._table.causes(tenant, *peers)
            for opening in _nearest(
                here.opened_at, [beside[: bisect_left(beside, _opening(here))]], self._causes.peers
            ):
                if (found := self._on_the_way(opening)) is not None:
                    return found
        return None

    def _earlier_ones(self, here: Incident) -> Iterator[Opening]:
        """Those of the same service, the earliest first; of an incident that is not urgent any urgent one."""
        own = self._table.causes(here.tenant, here.service)
        first = bisect_left(own, (here.opened_at - self._causes.window, b""))
        last = here.opened_at + self._causes.window + 1 if here.urgency == "low" else here.opened_at
        yield from own[first : bisect_left(own, (last, b"" if here.urgency == "low" else here.incident_id))]

    def _on_the_way(self, opening: Opening) -> Told | None:
        """The incident that opened so, if it may be on the way."""
        found = self._table.incident(opening[1])
        if found is None or opening[1] == self._incident.incident_id:
            return None
        if not self._causes.storms or is_storm(found.incident):
            return found
        # It may be the first of a storm.
        self.until = max(self.until, found.since + self._settings.storm_wait(found.incident))
        return None


def _is_told(told: Told) -> bool:
    """Whether somebody knows of it by itself, or will; what is muted from the beginning nobody does."""
    reaches = bool(told.destinations or told.grouped or told.ladder is not None)
    return reaches and not tenant_storms.is_member(told) and bool(told.told_at or not told.muted_by)


def _nearest(at: int, openings: Sequence[Sequence[Opening]], window: int) -> Iterator[Opening]:
    """Those within the window around a time: the last one before it comes first, and those after it come last."""
    parted = [(each, bisect_left(each, (at + 1, b""))) for each in openings]
    before = [reversed(each[:place]) for each, place in parted]
    for opening in heapq.merge(*before, reverse=True) if len(before) > 1 else chain(*before):
        if opening[0] < at - window:
            break
        yield opening
    after = [iter(each[place:]) for each, place in parted]
    for opening in heapq.merge(*after) if len(after) > 1 else chain(*after):
        if opening[0] > at + window:
            break
        yield opening


def _opening(incident: Incident) -> Opening:
    return incident.opened_at, incident.incident_id
