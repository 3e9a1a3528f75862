"""Half an hour of a shop's platform in trouble: what the pictures show."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.topics import ALERTS_EVENTS
from tests.console.conftest import Served

FILE = Path(__file__).with_name("sample.yaml")
_KEY = "3f1c2a9d7e4b41c8a3d6f1b20e987c01"

#: Minutes ago, service, severity, source, summary.
_ALERTS = (
    (58, "data-platform", "warning", "airflow-1", "Load of clickstream is 40 minutes late"),
    (51, "catalogue", "warning", "catalogue-6d8f", "Image cache hit rate below 80 % for 15 minutes"),
    (44, "search-index", "info", "search-3", "Snapshot took 31 minutes, usually 12"),
    (37, "orders-db", "warning", "orders-db-2", "Replication lag 48 s behind orders-db-1"),
    (21, "block-storage", "error", "ceph-osd-117", "3 OSDs down in rack B4, 2.1 % of objects degraded"),
    (20, "message-bus", "error", "kafka-broker-4", "Under-replicated partitions: 212 on kafka-broker-4"),
    (19, "orders-db", "critical", "orders-db-1", "Write latency p99 4.8 s, limit 250 ms"),
    (18, "payments", "critical", "payments-7c9d", "Card authorisations fail: 18 % in 5 minutes"),
    (17, "checkout", "error", "checkout-5b1a", "Error budget burns 14 times too fast"),
    (16, "mobile-api", "error", "mobile-api-2", "HTTP 502 above 5 % on POST /v3/orders"),
    (15, "shop-web", "critical", "probe-frankfurt", "Checkout probe failed from 3 of 4 places"),
    (12, "dns", "warning", "resolver-2", "SERVFAIL rate 3 % on resolver-2"),
    (9, "search-index", "warning", "search-5", "Heap of search-5 at 92 % after collection"),
    (6, "catalogue", "error", "catalogue-2f77", "Price feed is 25 minutes old"),
    (2, "payments", "warning", "settlement-1", "Settlement queue 18 250 deep, 20 minutes behind"),
)
#: Ports that fail in each minute from 22 minutes ago on; the last ones are repeats of what is known.
_STORM = (240, 410, 380, 290, 170, 96, 71, 44, 38, 30, 26, 19, 15, 12, 9, 8, 6, 4, 3, 3, 2)


def send_sample(served: Served) -> None:
    """Produce the alerts at the times at which they would have come, the storm among them, and one change."""
    _change(served, 27, "leaf switches of hall B: NX-OS 10.4(3) rolled out")
    _stamped_by_senders(served)
    producer = Producer({"bootstrap.servers": served.settings.bootstrap, "linger.ms": 5})
    for ago, service, severity, source, summary in _ALERTS:
        if ago > len(_STORM) + 1:
            _produce(producer, ago * 60, service, f"{source}/{summary[:20]}", severity, source, summary)
    for minute, ports in enumerate(_STORM):
        ago = 22 - minute
        for port in range(ports):
            switch, key = f"leaf-b{port % 40 + 1:02}", f"{port % 40}/{port // 40 % 8}"
            summary = f"Ethernet1/{port // 40 % 8 + 1} down on {switch}"
            _produce(producer, ago * 60 - port * 60 / ports, "core-network", key, "critical", switch, summary)
    for ago, service, severity, source, summary in _ALERTS:
        if ago <= len(_STORM) + 1:
            _produce(producer, ago * 60, service, f"{source}/{summary[:20]}", severity, source, summary)
    assert producer.flush(30) == 0


def _produce(
    producer: Producer, seconds_ago: float, service: str, key: str, severity: str, source: str, summary: str
) -> None:
    alert: dict[str, Any] = {
        "service": service,
        "dedup_key": key,
        "severity": severity,
        "source": source,
        "summary": summary,
    }
    alert |= {"labels": {"site": "fra-2", "env": "prod"}}
    at = int((time.time() - seconds_ago) * 1000)
    producer.produce(ALERTS_EVENTS.name, key=key, value=json.dumps(alert), timestamp=at)


def _stamped_by_senders(served: Served) -> None:
    """Kafka keeps the times of who produces, so that alerts may be of before."""
    entry = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, ALERTS_EVENTS.name, incremental_configs=[entry])
    client = AdminClient({"bootstrap.servers": served.settings.bootstrap})
    for done in client.incremental_alter_configs([resource]).values():
        done.result(30)


def _change(served: Served, minutes_ago: float, summary: str) -> None:
    payload: dict[str, Any] = {"summary": summary, "source": "ansible", "timestamp": time.time() - minutes_ago * 60}
    body = json.dumps({"routing_key": _KEY, "payload": payload}).encode()
    url = f"http://127.0.0.1:{served.settings.port('gateway')}/v2/change/enqueue"
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
        assert answer.status == 202
