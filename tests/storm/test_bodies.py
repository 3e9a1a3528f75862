"""What a storm sends is what the gateway's providers and the `alerts.events` reader understand."""

import orjson
import pytest

from schemas.control import FieldMapping, control_key, dump
from schemas.wire import events
from schemas.wire.alert import Action, RawEvent
from streams.control.state import Control
from streams.providers import find
from streams.providers._contract import Draft
from streams.storm.bodies import Encode, Request, alertmanager, event_records, events_v2, integration_id
from streams.storm.sample import sample_records
from streams.storm.shapes import Size, Spec, specs

NOW = 1_790_000_000_123
SIZE = Size(alerts=100, keys=40, services=3, seed=1)


def _split(request: Request) -> tuple[str, bytes]:
    head, _, body = request.wire.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}" in head.decode().lower()
    return head.decode().split("\r\n")[0], body


def _drafts(slug: str, body: bytes) -> list[Draft]:
    provider = find(slug)
    assert provider is not None
    return provider.drafts(RawEvent("default", "s", "i", slug, b"\0" * 16, NOW, body), FieldMapping())


@pytest.mark.parametrize("shape", ["storm", "flapping"])
def test_events_v2_requests_read_back(shape: str) -> None:
    """Each alert is one `POST /v2/enqueue` that the provider reads back as that alert."""
    for spec, request in zip(specs(shape, SIZE), events_v2(specs(shape, SIZE), "h:1"), strict=True):
        line, body = _split(request)
        assert (line, request.alerts) == ("POST /v2/enqueue HTTP/1.1", 1)
        assert orjson.loads(body)["routing_key"] == integration_id("events_v2", spec.service)
        (draft,) = _drafts("events_v2", body)
        assert (draft.dedup_key, draft.action) == (spec.dedup_key, spec.action)
        if spec.action is Action.TRIGGER:
            assert (draft.severity, draft.summary) == (spec.severity, spec.summary)


def test_alertmanager_requests_read_back() -> None:
    """Requests carry at most n alerts of one service each, together all, one key per dedup key."""
    requests = list(alertmanager(specs("flapping", SIZE), "h:1", 16, lambda: NOW))
    assert sum(request.alerts for request in requests) == 100
    assert max(request.alerts for request in requests) == 16
    found = []
    for request in requests:
        line, body = _split(request)
        services = {alert["labels"]["service"] for alert in orjson.loads(body)["alerts"]}
        assert len(services) == 1
        assert integration_id("prometheus", int(services.pop()[-2:])) in line
        drafts = _drafts("prometheus", body)
        assert len(drafts) == request.alerts
        found += drafts
    assert len({draft.dedup_key for draft in found}) == 40
    assert sum(draft.action is Action.RESOLVE for draft in found) == 40
    assert {draft.ends_at for draft in found} == {0, NOW}


@pytest.mark.parametrize("encode", [events.encode_json, events.encode_avro])
def test_event_records_read_back(encode: Encode) -> None:
    """In both encodings a record decodes to the alert it was made of, keyed by its dedup key."""
    sent: list[Spec] = list(specs("flapping", SIZE))
    for spec, (key, value) in zip(sent, event_records(sent, encode, lambda: NOW), strict=True):
        event = events.decode(value)
        assert key == spec.dedup_key.encode()
        assert (event.dedup_key, event.action) == (spec.dedup_key, spec.action.name.lower())
        assert events.milliseconds(event.starts_at if spec.action is Action.TRIGGER else event.ends_at) == NOW


def test_sample_records_are_valid_and_stable() -> None:
    """The sample configuration validates, covers every key a storm uses, and is the same every time."""
    records = sample_records(3, "http://127.0.0.1:8404/storm")
    assert [dump(record) for record in records] == [
        dump(record) for record in sample_records(3, "http://127.0.0.1:8404/storm")
    ]
    control = Control()
    for record in records:
        assert control.apply(control_key(record), dump(record)) is None
    for provider in ("events_v2", "prometheus"):
        assert {integration_id(provider, index) for index in range(3)} <= control.integrations.keys()
    (rule,) = control.rules.values()
    assert ("default", rule.route[0]) in control.destinations
