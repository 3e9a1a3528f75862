"""Vendors' own clients against our addresses: PagerDuty's, the CloudEvents SDK, librdkafka, curl."""

import io
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import httpx2
import pagerduty
import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Producer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.topics import ALERTS_EVENTS
from tests.docs.page import ROOT
from tests.senders.conftest import Stack, eventually, key

pytestmark = pytest.mark.stack


class WithoutTls(httpx2.HTTPTransport):
    """In the place of the proxy that ends TLS in front of a gateway: PagerDuty's client insists on https."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it in the clear."""
        request.url = request.url.copy_with(scheme="http")
        return super().handle_request(request)


@pytest.fixture
def pagerduty_client(stack: Stack) -> Iterator[pagerduty.EventsApiV2Client]:
    """PagerDuty's Python client with our address."""
    url = stack.url.replace("http:", "https:")
    with pagerduty.EventsApiV2Client(key("pagerduty-client"), base_url=url, transport=WithoutTls()) as client:
        yield client


def test_pagerdutys_client_triggers_acknowledges_and_resolves(
    stack: Stack, pagerduty_client: pagerduty.EventsApiV2Client
) -> None:
    """An incident is opened, acknowledged and resolved; a key we made up resolves what it opened."""
    given = pagerduty_client.trigger("Disk full", "db-1", dedup_key="db-1/disk", severity="warning")
    made = pagerduty_client.trigger("CPU hot", "db-2", custom_details={"degrees": 93})
    assert given == "db-1/disk"
    stack.wait_for_incidents(
        "pagerduty-client",
        {given: ["open", "warning", "Disk full", "db-1"], made: ["open", "critical", "CPU hot", "db-2"]},
    )
    assert pagerduty_client.acknowledge(given) == given
    assert pagerduty_client.resolve(made) == made
    stack.wait_for_incidents(
        "pagerduty-client",
        {given: ["acknowledged", "warning", "Disk full", "db-1"], made: ["resolved", "critical", "CPU hot", "db-2"]},
    )


def test_pagerdutys_client_hears_what_is_wrong(pagerduty_client: pagerduty.EventsApiV2Client) -> None:
    """What PagerDuty refuses is refused, in words that the client shows."""
    with pytest.raises(pagerduty.HttpError, match="severity") as refused:
        pagerduty_client.trigger("Disk full", "db-1", severity="high")
    assert refused.value.response.status_code == 400


def test_pagerdutys_client_sends_change_events(stack: Stack, pagerduty_client: pagerduty.EventsApiV2Client) -> None:
    """A change is stored with its time, under the same key as alerts, and opens nothing."""
    now = datetime.now(UTC)
    stamp = now.isoformat() + "Z"  # as its event_timestamp does
    link = {"href": "https://example.com/7", "text": "build"}
    pagerduty_client.submit("Deployed shop 7", source="ci", links=[link], timestamp=stamp)
    at = round(now.timestamp() * 1000)
    change = {
        "summary": "Deployed shop 7",
        "source": "ci",
        "at": str(at),
        "links": json.dumps([link], separators=(",", ":")),
    }
    query = "SELECT summary, source, toString(toUnixTimestamp64Milli(at)) AS at, links FROM change_events"
    eventually(lambda: stack.rows(f"{query} WHERE service = 'pagerduty-client'"), [change])
    assert not stack.rows("SELECT * FROM alerts WHERE service = 'pagerduty-client' AND summary LIKE 'Deployed%'")


def post(url: str, message: HTTPMessage) -> int:
    """Send what the SDK made."""
    with urllib.request.urlopen(urllib.request.Request(url, message.body, message.headers), timeout=10) as answer:
        return int(answer.status)


def test_events_of_the_cloudevents_sdk(stack: Stack) -> None:
    """A structured event opens an incident and a binary one of the same source and subject resolves it."""
    for subject in ("disk", "\u00d6ltank 2"):
        opened = CloudEvent(
            {"type": "lab.tank.alarm.fired", "source": "/lab/tanks", "subject": subject},
            {"summary": f"{subject} is low", "severity": "critical"},
        )
        assert post(stack.webhook("cloudevents-sdk"), to_structured_event(opened)) == 202
    keys = {"/lab/tanks|disk": "disk", "/lab/tanks|\u00d6ltank 2": "\u00d6ltank 2"}
    described = {name: ["critical", f"{subject} is low", "/lab/tanks"] for name, subject in keys.items()}
    stack.wait_for_incidents("cloudevents-sdk", {name: ["open", *rest] for name, rest in described.items()})
    for subject in keys.values():
        closed = CloudEvent(
            {
                "type": "lab.tank.alarm.resolved",
                "source": "/lab/tanks",
                "subject": subject,
                "datacontenttype": "application/json",
            },
            {"level": 80},
        )
        assert post(stack.webhook("cloudevents-sdk"), to_binary_event(closed)) == 202
    stack.wait_for_incidents("cloudevents-sdk", {name: ["resolved", *rest] for name, rest in described.items()})


def test_kcat_and_confluent_kafka_in_json_and_avro(stack: Stack) -> None:
    """Records of librdkafka's clients open incidents; what one opened, the other resolves, in the other format."""
    schema = json.loads((ROOT / "schemas/avro/alert_event.avsc").read_text())
    marker = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))

    def avro(**event: Any) -> bytes:
        out = io.BytesIO(marker)
        out.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {"service": "kafka-producers", **event})
        return out.getvalue()

    def produce(key: str, value: bytes) -> None:
        producer.produce(ALERTS_EVENTS.name, key=key, value=value, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(20) == 0

    errors: list[Any] = []
    producer = Producer({"bootstrap.servers": stack.settings.bootstrap, "enable.idempotence": True})
    produce("json", b'{"service": "kafka-producers", "dedup_key": "json", "summary": "of JSON", "source": "a"}')
    produce("avro", avro(dedup_key="avro", summary="of Avro", source="b", severity="critical"))
    kcat = ["kcat", "-P", "-b", stack.settings.bootstrap, "-t", ALERTS_EVENTS.name, "-X", "acks=all", "-k"]
    line = b'{"service": "kafka-producers", "dedup_key": "kcat", "summary": "of kcat", "source": "c"}\n'
    subprocess.run([*kcat, "kcat"], input=line, check=True, timeout=30)
    described = {
        "json": ["error", "of JSON", "a"],
        "avro": ["critical", "of Avro", "b"],
        "kcat": ["error", "of kcat", "c"],
    }
    stack.wait_for_incidents("kafka-producers", {name: ["open", *rest] for name, rest in described.items()})
    produce("kcat", avro(dedup_key="kcat", action="resolve"))
    line = b'{"service": "kafka-producers", "dedup_key": "avro", "action": "resolve"}\n'
    subprocess.run([*kcat, "avro"], input=line, check=True, timeout=30)
    status = {"json": "open", "avro": "resolved", "kcat": "resolved"}
    stack.wait_for_incidents("kafka-producers", {name: [status[name], *rest] for name, rest in described.items()})
    assert errors == [None] * 3


def test_a_multipart_form_as_uptime_kuma_sends_it(stack: Stack, tmp_path: Path) -> None:
    """Its form-data preset has the JSON in the field `data`; curl writes the same kind of form."""
    for status, word in ((0, "Down"), (1, "Up")):
        data = {
            "heartbeat": {"monitorID": 15, "status": status, "time": "2026-11-06 10:00:12.345", "msg": "timeout"},
            "monitor": {"id": 15, "name": "L\u00e4den \u2615", "url": "https://shop.example.com", "type": "http"},
            "msg": f"[L\u00e4den \u2615] [{word}] timeout",
        }
        form = tmp_path / "data.json"
        form.write_text(json.dumps(data, ensure_ascii=False))
        command = ["curl", "-sS", "--fail-with-body", stack.webhook("kuma-multipart"), "-F", f"data=<{form}"]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        stack.wait_for(
            "SELECT status, severity, source FROM incidents FINAL WHERE service = 'kuma-multipart'",
            f"{('resolved' if status else 'open')}\tcritical\thttps://shop.example.com",
        )
    [[_, _, title, _]] = stack.incidents("kuma-multipart").values()
    assert "L\u00e4den \u2615" in title
