"""PagerDuty's Events API v2: `POST /v2/enqueue`, with its limits of fields, size and rate.

https://developer.pagerduty.com/docs/send-alert-event. `/_seen` has what was `received`, how many events were
`accepted`, the `alerts` that somebody sees, and the acknowledges and resolves that were `dropped` because no alert of
their routing key has their dedup key.
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

_SEVERITIES = ("critical", "error", "warning", "info")
_STATES = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}
_MAX_BYTES = 512_000
_PER_MINUTE = 120


class PagerDuty:
    """What PagerDuty knows. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: dict[str, deque[float]] = {}
        self.received: list[Any] = []
        self.accepted = 0
        self.limited = 0
        self.alerts: dict[str, dict[str, Any]] = {}
        self.dropped: list[Any] = []

    async def enqueue(self, request: web.Request) -> web.Response:
        """One event."""
        body = await request.read()
        if len(body) > _MAX_BYTES:
            return web.json_response({"status": "invalid event", "message": "Event is too large"}, status=413)
        try:
            event = json.loads(body)
        except ValueError:
            event = None
        self.received.append(event)
        errors = _errors(event)
        if errors:
            refusal = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return web.json_response(refusal, status=400)
        if self._over(event["routing_key"]):
            self.limited += 1
            return web.json_response({"status": "throttle exceeded", "message": "Too many requests"}, status=429)
        self.accepted += 1
        key = event.get("dedup_key") or f"generated-{self.accepted}"
        self._apply(event, key)
        return web.json_response({"status": "success", "message": "Event processed", "dedup_key": key}, status=202)

    async def seen(self, request: web.Request) -> web.Response:
        """What is known."""
        names = ("received", "accepted", "limited", "alerts", "dropped")
        return web.json_response({name: getattr(self, name) for name in names})

    def _over(self, key: str) -> bool:
        now = self._clock()
        times = self._times.setdefault(key, deque())
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= _PER_MINUTE:
            return True
        times.append(now)
        return False

    def _apply(self, event: dict[str, Any], key: str) -> None:
        alert = self.alerts.get(f"{event['routing_key']}/{key}")
        action = event["event_action"]
        if action == "trigger":
            if alert is None or alert["state"] == "resolved":
                alert = self.alerts[f"{event['routing_key']}/{key}"] = {"state": "triggered", "history": []}
            alert.update(summary=event["payload"]["summary"], severity=event["payload"]["severity"])
        elif alert is None or alert["state"] == "resolved":
            self.dropped.append(event)
            return
        else:
            alert["state"] = _STATES[action]
        alert["history"].append(action)


def _errors(event: Any) -> list[str]:
    if not isinstance(event, dict):
        return ["Event is not a JSON object"]
    errors = []
    key = event.get("routing_key")
    if not key:
        errors.append("'routing_key' is missing or blank")
    elif not isinstance(key, str) or len(key) != 32:
        errors.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    elif not re.fullmatch(r"[A-Za-z0-9]+", key):
        errors.append("'routing_key' cannot contain non-alphanumeric characters.")
    if event.get("event_action") not in _STATES:
        errors.append("'event_action' is not one of trigger, acknowledge, resolve")
    dedup_key = event.get("dedup_key")
    if dedup_key is not None and (not isinstance(dedup_key, str) or len(dedup_key) > 255):
        errors.append("'dedup_key' is longer than 255 characters")
    if event.get("event_action") == "trigger":
        errors += _payload_errors(event.get("payload"))
    elif not dedup_key:
        errors.append("'dedup_key' is missing or blank")
    return errors


def _payload_errors(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing"]
    errors = [
        f"'payload.{name}' is missing or blank"
        for name in ("summary", "source", "severity")
        if not isinstance(payload.get(name), str) or not payload[name].strip()
    ]
    if not errors and len(payload["summary"]) > 1024:
        errors.append("'payload.summary' is longer than 1024 characters")
    if not errors and payload["severity"] not in _SEVERITIES:
        errors.append("'payload.severity' is invalid (must be one of the following: critical, warning, error or info)")
    return errors


def application(clock: Callable[[], float] = time.monotonic) -> web.Application:
    """The vendor; `clock` gives seconds."""
    vendor = PagerDuty(clock)
    app = web.Application(client_max_size=2 * _MAX_BYTES)
    app.add_routes([web.post("/v2/enqueue", vendor.enqueue), web.get("/_seen", vendor.seen)])
    return app
