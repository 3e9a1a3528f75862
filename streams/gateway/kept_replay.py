"""Reads kept bodies of refused requests back, and accepts them as the gateway accepts requests.

The route and the provider are those of the gateway. The proofs that were checked when the request came (its key, its
signature) are not checked again.
"""

import time
from dataclasses import dataclass
from typing import NamedTuple

from schemas.fingerprint import digest, uuid_text
from schemas.topics import ALERTS_RAW, CHANGES, REJECTED_BODIES
from schemas.wire.codec import DecodeError, decode_rejected_body, encode
from schemas.wire.rejection import MAX_KEPT, RejectedBody
from streams.control.state import Control
from streams.gateway import changes
from streams.gateway.answers import Refusal
from streams.gateway.auth import Directory
from streams.gateway.lanes import Lanes, TooLargeError, UnavailableError
from streams.gateway.routes import Request, Route, Routes
from streams.gateway.senders import ApiSender, Sender
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.reading import records
from streams.providers import BadBody, NoAlert


class Outcome(NamedTuple):
    """The result for a body: `accepted`, `ignored` (it contains no alert) or `refused`, and the reason."""

    id: str
    result: str
    reason: str = ""


@dataclass
class _Scope:
    """The request that a kept body came with (streams.gateway.rsgi.Scope)."""

    method: str
    path: str
    query_string: str
    headers: dict[str, str]


async def kept(kafka: Kafka) -> list[RejectedBody]:
    """Every body on the topic, the oldest first. Raises OperatorError when Kafka fails or the topic is missing."""
    found = [_decoded(record.value) async for record in records(kafka, REJECTED_BODIES)]
    return sorted((body for body in found if body is not None), key=lambda body: body.event_id)


async def replay(kafka: Kafka, control: Control, bodies: list[RejectedBody]) -> list[Outcome]:
    """Accept each body again, in order. Raises OperatorError when Kafka does not take a record.

    A body keeps the id of its request, so a body that is replayed twice is a repeat; it counts as received now.
    """
    alerts, changed = Lanes(kafka, ALERTS_RAW.name), Lanes(kafka, CHANGES.name)
    again = _Again(control, alerts, changed)
    try:
        await alerts.start()
        await changed.start()
        return [await again.accept(body) for body in bodies]
    except UnavailableError:
        raise OperatorError(f"Kafka at {kafka.bootstrap} does not take it") from None
    finally:
        await alerts.stop()
        await changed.stop()


class _Again:
    """Accepts kept bodies."""

    def __init__(self, control: Control, alerts: Lanes, changed: Lanes) -> None:
        self._control = control
        self._alerts = alerts
        self._changes = changed
        self._routes = Routes(Directory(control))

    async def accept(self, body: RejectedBody) -> Outcome:
        """Accept one body."""
        name = uuid_text(body.event_id)
        sender, route = self._sender(body), self._routes.find(body.path)
        if sender is None or route is None or route.provider.slug != body.provider:
            return Outcome(name, "refused", "its integration is gone")
        if not sender.enabled:
            return Outcome(name, "refused", "its integration is disabled")
        if body.size > MAX_KEPT:
            return Outcome(name, "refused", f"only {MAX_KEPT} of its {body.size} bytes were kept")
        request = Request(_Scope(body.method, body.path, body.query, body.headers), len(body.body))
        request.event_id, request.sent, request.sender = body.event_id, body.body, sender
        try:
            await self._put(route, request)
        except NoAlert as silence:
            if silence.change is None:
                return Outcome(name, "ignored", silence.kind)
            await changes.put(self._changes, sender, body.provider, body.event_id, silence.change)
        except (BadBody, Refusal) as error:
            return Outcome(name, "refused", str(error))
        except TooLargeError:
            return Outcome(name, "refused", "the topic takes no record of this size")
        return Outcome(name, "accepted")

    async def _put(self, route: Route, request: Request) -> None:
        """Put the request on Kafka. Raises what the route's `decode` raises, TooLargeError and UnavailableError."""
        order_key = route.provider.order_key(route.decode(request), request.context)
        assert request.sender is not None
        at = time.time_ns() // 1_000_000
        event = request.raw(route.provider.slug, at)
        await self._alerts.put(digest(request.sender.id, order_key), encode(event), at)

    def _sender(self, body: RejectedBody) -> Sender | None:
        """The sender of a body, in the current configuration; None if its key no longer exists."""
        for integration in self._control.integrations.values():
            if digest(integration.id) == body.sender:
                return integration
        for key in self._control.apikeys.values():
            sender = ApiSender(key, key.tenant, body.service, f"apikey/{key.id}")
            if digest(sender.id) == body.sender:
                return sender
        return None


def _decoded(value: bytes | None) -> RejectedBody | None:
    try:
        return decode_rejected_body(value or b"")
    except DecodeError:
        return None
