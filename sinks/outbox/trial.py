"""A test send: one message about a made-up incident, over the real way out, at once and only once."""

from uuid import UUID

from schemas.control import Destination
from schemas.fingerprint import digest, uuid7
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Notification, Transition, notification_id
from sinks.channels import CHANNELS
from sinks.contract import Message
from sinks.outbox.attempt import Sending, unrendered
from sinks.outbox.settle import Attempt

TITLE = "Test of Stormweir: this destination works"
_SERVICE = "stormweir-test"


def test_message(destination: Destination, base_url: str, now: int) -> Message:
    """The message of a test. Each test has an incident of its own; nothing of it is stored."""
    incident_id = uuid7(now)
    incident = Incident(
        tenant=destination.tenant,
        incident_id=incident_id,
        version=1,
        status=Status.OPEN,
        severity=Severity.INFO,
        service=_SERVICE,
        title=TITLE,
        dedup_key=f"{_SERVICE}-{now}",
        correlation_key=digest(destination.tenant, _SERVICE, str(now)),
        opened_at=now,
        acknowledged_at=0,
        resolved_at=0,
        last_alert_at=now,
        alert_count=1,
        repeat_count=0,
        member_count=1,
        source="stormweir",
    )
    notification = Notification(
        notification_id=notification_id(incident_id, 1, Transition.TRIGGERED, destination.id),
        tenant=destination.tenant,
        destination=destination.id,
        transition=Transition.TRIGGERED,
        queued_at=now,
        incident=incident,
    )
    name = str(UUID(bytes=notification.notification_id))
    return Message(name, notification, (Transition.TRIGGERED,), base_url.rstrip("/"), now, test=True)


async def try_out(sending: Sending, destination: Destination, base_url: str, now: int) -> Attempt:
    """Send a test message to the destination, enabled or not; it was taken if the attempt's `reason` is empty."""
    channel = CHANNELS[destination.type]
    try:
        requests = channel.render(test_message(destination, base_url, now), destination, "")
    except Exception as error:
        return Attempt(channel.slug, 0, now, 0, unrendered(channel.slug, error))
    return (await sending.send(channel, requests, "")).attempt
