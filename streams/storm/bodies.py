"""Alerts as senders write them: Events API v2, Alertmanager v4, and records for `alerts.events`.

Formats: https://developer.pagerduty.com/docs/send-alert-event,
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Literal, NamedTuple

import orjson
from msgspec import Raw

from schemas.fingerprint import digest
from schemas.wire.alert import Action, Severity
from schemas.wire.events import AlertEvent
from streams.storm.shapes import Spec

#: Milliseconds since 1970 UTC.
Clock = Callable[[], int]
#: schemas.wire.events.encode_json or encode_avro.
Encode = Callable[[AlertEvent], bytes]

_ACTIONS: dict[Action, Literal["trigger", "acknowledge", "resolve"]] = {
    Action.TRIGGER: "trigger",
    Action.ACKNOWLEDGE: "acknowledge",
    Action.RESOLVE: "resolve",
}
_SEVERITIES: dict[Severity, Literal["critical", "error", "warning", "info"]] = {
    Severity.CRITICAL: "critical",
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
}


class Request(NamedTuple):
    """One HTTP request, ready for the wire, and how many alerts it carries."""

    alerts: int
    wire: bytes


@cache
def service_id(index: int) -> str:
    """The id of the sample service with this index."""
    return f"storm-{index:02d}"


@cache
def integration_id(provider: str, index: int) -> str:
    """The key of the sample integration of a service for a provider: 32 hex characters, always the same."""
    return digest("stormweir storm", provider, str(index)).hex()


def events_v2(specs: Iterable[Spec], host: str) -> Iterator[Request]:
    """One `POST /v2/enqueue` for each alert."""
    for spec in specs:
        body = {
            "routing_key": integration_id("events_v2", spec.service),
            "event_action": _ACTIONS[spec.action],
            "dedup_key": spec.dedup_key,
            "payload": {
                "summary": spec.summary,
                "source": f"{service_id(spec.service)}.example.com",
                "severity": _SEVERITIES[spec.severity],
                "component": "switch",
                "group": "network",
                "class": "port",
                "custom_details": {"n": spec.n},
            },
        }
        yield Request(1, post("/v2/enqueue", host, orjson.dumps(body)))


def alertmanager(specs: Iterable[Spec], host: str, per_request: int, clock: Clock) -> Iterator[Request]:
    """One `POST /api/integrations/prometheus` for every `per_request` alerts of one service."""
    waiting: dict[int, list[Spec]] = {}
    for spec in specs:
        group = waiting.setdefault(spec.service, [])
        group.append(spec)
        if len(group) == per_request:
            yield _alertmanager_request(spec.service, group, host, clock())
            group.clear()
    for service, group in waiting.items():
        if group:
            yield _alertmanager_request(service, group, host, clock())


def event_records(specs: Iterable[Spec], encode: Encode, clock: Clock) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of a record on `alerts.events` for each alert."""
    for spec in specs:
        resolve = spec.action is Action.RESOLVE
        event = AlertEvent(
            service=service_id(spec.service),
            dedup_key=spec.dedup_key,
            action=_ACTIONS[spec.action],
            severity=_SEVERITIES[spec.severity],
            summary=spec.summary,
            source=f"{service_id(spec.service)}.example.com",
            component="switch",
            group="network",
            class_="port",
            details=Raw(b'{"n":%d}' % spec.n),
            starts_at=None if resolve else clock(),
            ends_at=clock() if resolve else None,
        )
        yield spec.dedup_key.encode(), encode(event)


def post(path: str, host: str, body: bytes) -> bytes:
    """A whole HTTP/1.1 request with a JSON body."""
    return b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        path.encode(),
        host.encode(),
        len(body),
        body,
    )


def _alertmanager_request(service: int, specs: Sequence[Spec], host: str, now: int) -> Request:
    at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    receiver = integration_id("prometheus", service)
    firing = any(spec.action is Action.TRIGGER for spec in specs)
    body = {
        "version": "4",
        "groupKey": f'{{}}:{{service="{service_id(service)}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "stormweir",
        "groupLabels": {"service": service_id(service)},
        "commonLabels": {"service": service_id(service)},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com",
        "alerts": [_alertmanager_alert(spec, at) for spec in specs],
    }
    path = f"/api/integrations/prometheus?integrationId={receiver}"
    return Request(len(specs), post(path, host, orjson.dumps(body)))


def _alertmanager_alert(spec: Spec, at: str) -> dict[str, object]:
    firing = spec.action is Action.TRIGGER
    return {
        "status": "firing" if firing else "resolved",
        "labels": {
            "alertname": "SwitchPort",
            "service": service_id(spec.service),
            "severity": _SEVERITIES[spec.severity],
            "instance": spec.dedup_key,
        },
        "annotations": {"summary": spec.summary},
        "startsAt": at,
        "endsAt": "0001-01-01T00:00:00Z" if firing else at,
        "generatorURL": "http://prometheus.example.com/graph",
        "fingerprint": digest(spec.dedup_key)[:8].hex(),
    }
