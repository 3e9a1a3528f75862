"""New versions of incidents, as correlation tells them one after another."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from schemas.wire.alert import Severity, UniqueAlert
from schemas.wire.incident import IncidentEvent
from streams.policy import incidents
from streams.stages.correlate_table import Open


class Change(NamedTuple):
    """A new version of an incident, its line in the timeline, and what rules decided on the alerts that came to it."""

    found: Open
    event: IncidentEvent | None
    unique: UniqueAlert | None = None


class Reached(NamedTuple):
    """What rules decided on the alerts of an incident: the destinations and ids of rules, and the severities of alerts
    for which they named no destination.
    """

    severity: Severity
    routes: list[str]
    rules: str
    unrouted: list[int]


def reached(*sources: Open) -> Reached:
    """What rules decided on the alerts of all these incidents."""
    return Reached(
        max(source.incident.severity for source in sources),
        list(dict.fromkeys(name for source in sources for name in source.routes)),
        ",".join(dict.fromkeys(name for source in sources for name in source.rules.split(",") if name)),
        sorted({severity for source in sources for severity in source.unrouted}),
    )


def reach(found: Open, event: IncidentEvent | None, known: Reached) -> Iterator[Change]:
    """The changes after which an incident reaches whom others did: one for each thing that rules decided, the first of
    them with `event`. The incident gets a new version for each further one, so the caller must tell each as it comes.
    """
    line = event
    for severity, routes in _decided(known):
        unique = UniqueAlert(0, -1, b"", 0, 0, severity, routes=routes, rule=known.rules)
        if line is None:
            if set(routes) <= set(found.routes) and (routes or severity in found.unrouted):
                found.reach(unique)  # notes the rules
                continue
            found.incident = incidents.renew(found.incident)
        yield Change(found, line, unique)
        line = None
    if line is not None:
        yield Change(found, line)


def _decided(known: Reached) -> Iterable[tuple[Severity, list[str]]]:
    if known.routes:
        yield known.severity, known.routes
    for severity in known.unrouted:
        yield Severity(severity), []
