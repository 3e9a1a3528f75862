"""Which open incident is the cause of another one, by the topology of services (streams.policy.topology).

A cause is of a service upstream, or of the same service and earlier, or urgent when the other one is not. An incident
is a cause only if it is urgent and somebody is told of it: nothing that somebody must hear of is hidden. A tenant may
demand that it is a storm, too.

A failure passes from service to service. So the cause is looked for on the ways up on which each service has an open
incident, each opened within the window of the one before; of all that are found the highest up is the cause, then the
earliest. If there is none, any service upstream may have it, within the window: alerts may be missing on the way.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from schemas.wire.incident import Incident
from streams.policy.incidents import is_storm
from streams.stages import tenant_storms
from streams.stages.dispatch_settings import Settings
from streams.stages.dispatch_table import Table, Told

#: What outlives its cause waits so long for its own end before it is told.
OUTLIVE_MS = 60_000
#: The incident that is told for all that outlived a cause is remembered for so long, or until it is over.
_HEIR_MS = 7 * 86_400_000


class Candidate(NamedTuple):
    """An open incident upstream; the smallest one is the cause: the highest up, then the earliest."""

    level: int
    opened_at: int
    incident_id: bytes


def find(table: Table, settings: Settings, told: Told) -> tuple[bytes | None, int]:
    """The open incident that is the cause of this one, and until when to wait for one, in milliseconds."""
    incident = told.incident
    upstream = settings.topology.upstream(incident.tenant, incident.service)
    if not upstream:
        return None, 0
    causes = settings.causes(incident.tenant)
    until = told.since + causes.hold if len(upstream) > 1 or incident.urgency == "low" else 0
    for candidates in (_on_the_ways(table, settings, incident), _anywhere(table, settings, incident)):
        for candidate in sorted(candidates):
            cause = table.incident(candidate.incident_id)
            if cause is None or not (cause.destinations or cause.grouped or cause.ladder is not None):
                continue
            if tenant_storms.is_member(cause):  # nobody is told of it by itself
                continue
            if not causes.storms or is_storm(cause.incident):
                return candidate.incident_id, 0
            # It may be the first of a storm.
            until = max(until, cause.since + settings.storm_wait(cause.incident))
    return None, until


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


def _on_the_ways(table: Table, settings: Settings, incident: Incident) -> Iterator[Candidate]:
    tenant, topology = incident.tenant, settings.topology
    levels = topology.upstream(tenant, incident.service)
    window = settings.causes(tenant).window
    yield from _of(table, incident, incident.service, [incident.opened_at], window, levels[incident.service])
    seen = {incident.service}
    waiting = [(incident.service, [incident.opened_at])]
    while waiting:
        service, times = waiting.pop()
        for above in topology.needs(tenant, service):
            if above in seen or above not in levels:
                continue
            found = list(_of(table, incident, above, times, window, levels[above]))
            if found:
                seen.add(above)
                waiting.append((above, [candidate.opened_at for candidate in found]))
                yield from found


def _anywhere(table: Table, settings: Settings, incident: Incident) -> Iterator[Candidate]:
    window = settings.causes(incident.tenant).window
    for service, level in settings.topology.upstream(incident.tenant, incident.service).items():
        yield from _of(table, incident, service, [incident.opened_at], window, level)


def _of(
    table: Table, incident: Incident, service: str, times: Iterable[int], window: int, level: int
) -> Iterator[Candidate]:
    """The open incidents of a service that opened within the window of one of these times."""
    own = incident.opened_at, incident.incident_id
    for opened_at, incident_id, _ in table.causes(incident.tenant, service):
        if service == incident.service and incident.urgency == "high" and (opened_at, incident_id) >= own:
            continue
        if any(abs(opened_at - time) <= window for time in times):
            yield Candidate(level, opened_at, incident_id)
