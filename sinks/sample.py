"""Made-up messages, whose texts hold what breaks careless templates: quotation marks, backslashes, several lines."""

from uuid import UUID

from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Change, Notification, Related, Transition
from sinks.contract import Message

_TEXT = 'disk "full" \\ on <db-1>\n& \u00fc\U0001f6a8'
_AT = 1_760_000_000_000
_ID = UUID("00000000-0000-4000-8000-000000000001")


def _sample(transition: Transition, status: Status, labels: dict[str, str], related: tuple[Related, ...]) -> Message:
    over = status is Status.RESOLVED
    incident = Incident(
        tenant="default",
        incident_id=_ID.bytes,
        version=1,
        status=status,
        severity=Severity.CRITICAL,
        service=_TEXT,
        title=_TEXT,
        dedup_key=_TEXT,
        correlation_key=bytes(16),
        opened_at=_AT,
        acknowledged_at=0,
        resolved_at=_AT if over else 0,
        last_alert_at=_AT,
        alert_count=2,
        repeat_count=1,
        member_count=1,
        labels=labels,
        source=_TEXT,
    )
    notification = Notification(
        notification_id=_ID.bytes,
        tenant="default",
        destination="sample",
        transition=transition,
        queued_at=_AT,
        incident=incident,
        related=related,
        more=len(related),
    )
    return Message(str(_ID), notification, (transition,), "https://stormweir.example.com", _AT)


_OTHER = Related(
    incident_id=bytes(16), title=_TEXT, severity=Severity.INFO, status=Status.OPEN, service=_TEXT, change=Change.NEW
)
#: An incident that opened with another one, and one that resolved and has no labels.
SAMPLES = (
    _sample(Transition.TRIGGERED, Status.OPEN, {"team": _TEXT, _TEXT: _TEXT}, (_OTHER,)),
    _sample(Transition.RESOLVED, Status.RESOLVED, {}, ()),
)
