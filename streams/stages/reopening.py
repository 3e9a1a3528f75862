"""What correlation does when the key of a resolved incident fires again soon: the incident is open again.

It keeps its id and its opening; nobody has acknowledged it any more. Everybody who was told that it is over hears that
it is there.
"""

from schemas.wire.alert import Alert, UniqueAlert
from schemas.wire.incident import IncidentEvent
from streams.policy import incidents
from streams.stages.changes import Reached, reached
from streams.stages.correlate_table import SEVERAL, Open, Table

#: How much longer a resolved incident is kept than it may be opened again: alerts may come late, through a backlog.
SLACK_MS = 600_000


def past_until(reopen_s: int, now: int) -> int:
    """Until when an incident that is resolved now is kept, in milliseconds; 0 for not at all."""
    return now + reopen_s * 1000 + SLACK_MS if reopen_s else 0


def find_past(table: Table, key: bytes, reopen_s: int, alert: Alert) -> Open | None:
    """The newest incident of a correlation key, if it was resolved so lately that the alert opens it again."""
    past = table.past(key) if reopen_s else None
    return past if past is not None and alert.received_at <= past.incident.resolved_at + reopen_s * 1000 else None


def open_again(
    table: Table, found: Open, unique: UniqueAlert, alert: Alert, left: Open | None = None
) -> tuple[IncidentEvent, Reached]:
    """Open it with the alert, a member of `left`, which a person resolved: its event, and whom it reached before. The
    caller must keep both.
    """
    table.reopen(found)
    incident, known = found.incident, reached(found)
    alone = found.repeats != SEVERAL
    is_member = left is not None and left.incident.incident_id == incident.incident_id
    if found.open_members and not alone:
        severity = max(incident.severity, unique.severity)
    else:
        severity, known = unique.severity, known._replace(severity=unique.severity, unrouted=[])
    found.open_members = 1 if alone else found.open_members + (not is_member)
    found.routes, found.unrouted, found.rules = [], [], ""
    members = 0 if alone or is_member else 1
    found.incident, event = incidents.reopen(incident, alert, severity, members, unique.repeats)
    return event, known
