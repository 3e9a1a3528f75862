"""A recorded history: what the stages wrote, as the writer and the notifier put it into ClickHouse."""

from schemas.topics import ALERTS_HISTORY, INCIDENTS, INCIDENTS_EVENTS, NOTIFICATIONS_RESULTS
from schemas.wire.codec import encode
from schemas.wire.notification import Delivery, Notification, Outcome
from sinks.clickhouse.batches import form
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES
from tests.stages.path import Path


async def write_history(client: ClickHouse, path: Path) -> None:
    """Write what came out of the path; every notification was delivered within half a second."""
    for notification in path.notifications:
        path.append(NOTIFICATIONS_RESULTS.name, encode(_delivered(notification)), notification.notification_id)
    for topic in (ALERTS_HISTORY, INCIDENTS, INCIDENTS_EVENTS, NOTIFICATIONS_RESULTS):
        records = [record for record in path.logs[topic.name] if record.value is not None]
        if records:
            batch = form(TABLES[topic.name], "", records, {})
            assert not batch.errors
            await client.insert(batch)


def _delivered(notification: Notification) -> Delivery:
    at = notification.queued_at
    return Delivery(
        tenant=notification.tenant,
        notification_id=notification.notification_id,
        incident_id=notification.incident.incident_id,
        channel="webhook",
        destination=notification.destination,
        transition=notification.transition,
        attempt=1,
        queued_at=at,
        sent_at=at + 100,
        finished_at=at + 500,
        outcome=Outcome.DELIVERED,
        http_status=200,
    )
