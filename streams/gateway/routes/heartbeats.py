"""`/v1/heartbeats/<key>`: a request here is a beat of the monitor with this key, whatever its body is."""

from typing import Any

import orjson

from schemas.wire.beat import HEARTBEAT, MONITOR
from streams.gateway.answers import DISABLED_HEARTBEAT, UNAUTHORIZED, Answer, Refusal
from streams.gateway.auth import Directory
from streams.gateway.routes.route import Request, Route
from streams.gateway.senders import HeartbeatSender, Sender
from streams.providers import Context, Provider

HEARTBEATS = "/v1/heartbeats/"


def _no_event(body: bytes, context: Context) -> None:
    return None


#: What the gateway needs of a provider; it is none of those that integrations have, because beats are no alerts.
_PROVIDER: Provider[None] = Provider(
    slug=HEARTBEAT,
    title="Heartbeat",
    docs_url="",
    decode=_no_event,
    parse=lambda event, context: [],
    order_key=lambda event, context: "",
    methods=("GET", "HEAD", "POST"),
    key_scope="global",
    key_reason="",
    retries=(429, 503),
    retries_note="",
)


class Beats(Route):
    """The URL is the credential; no record of a request has the key in it."""

    address = f"{HEARTBEATS}{{key}}"

    def __init__(self, directory: Directory) -> None:
        super().__init__(_PROVIDER, directory)

    def identify(self, request: Request) -> Sender:
        """The monitor of the key. Refuses with 401, or 403 if it is disabled."""
        heartbeat = self._directory.heartbeat(request.scope.path.strip("/").rpartition("/")[2])
        if heartbeat is None:
            raise Refusal(UNAUTHORIZED)
        request.headers = {MONITOR: heartbeat.id}
        sender = HeartbeatSender(heartbeat.tenant, heartbeat.service, f"heartbeat/{heartbeat.tenant}/{heartbeat.id}")
        if not heartbeat.enabled:
            raise Refusal(DISABLED_HEARTBEAT, sender)
        return sender

    def decode(self, request: Request) -> Any:
        """Nothing: a body is welcome, and is not read."""
        return None

    def accepted(self, request: Request, order_key: str) -> Answer:
        """202 with the monitor's id."""
        value = {
            "status": "accepted",
            "message": "Heartbeat received",
            "heartbeat": request.headers[MONITOR],
            "event_id": request.id,
        }
        return Answer(202, orjson.dumps(value))
