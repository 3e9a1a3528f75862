"""Change events go to a topic of their own, and like everything are on Kafka before they are answered."""

import asyncio

from schemas.control import shown_sender
from schemas.fingerprint import digest
from schemas.wire.change import ChangeEvent
from schemas.wire.codec import encode
from streams.gateway.lanes import Lanes
from streams.gateway.senders import Sender
from streams.providers import Change


def put(lanes: Lanes, sender: Sender, provider: str, event_id: bytes, change: Change) -> asyncio.Future[None]:
    """Done once Kafka has it. What a sender says was changed in the future was changed now."""
    now = int.from_bytes(event_id[:6], "big")  # a UUIDv7 begins with its milliseconds
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
