"""Change events go to their own topic; like alerts, they are on Kafka before they are answered."""

import asyncio

from schemas.control import shown_sender
from schemas.fingerprint import digest
from schemas.wire.change import ChangeEvent
from schemas.wire.codec import encode
from streams.gateway.lanes import Lanes
from streams.gateway.senders import Sender
from streams.providers import Change


def put(lanes: Lanes, sender: Sender, provider: str, event_id: bytes, change: Change) -> asyncio.Future[None]:
    """The future ends once Kafka has the change. A change that the sender dates in the future gets the current time."""
    now = int.from_bytes(event_id[:6], "big")  # a UUIDv7 begins with its time in milliseconds
    event = ChangeEvent(
        tenant=sender.tenant,
        service=sender.service,
        integration=shown_sender(sender.id),
        provider=provider,
        event_id=event_id,
        received_at=now,
        at=min(change.at, now) or now,
        summary=change.summary,
        source=change.source,
        details=change.details,
        links=change.links,
    )
    return lanes.put(digest(sender.tenant, sender.service), encode(event), now)
