"""The alerts of the dedup hop, 325 bytes of JSON each, and the work that every contender does per alert.

A repeat within the window of its fingerprint is counted; the first alert of a window is forwarded unchanged.
The state of a fingerprint is packed as streams.stages.dedup packs it.
"""

import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import orjson
from xxhash import xxh3_128_digest

PARTITIONS = 4
BODY_BYTES = 325
WINDOW_MS = 300_000
#: The share of the records, from the first on, that warms caches and connections and is not timed.
WARM_UP = 0.05
#: The garbage collector's thresholds of the engine, used by every contender except stock Faust.
GC_THRESHOLDS = (50_000, 50, 1_000)

#: status, severity, last seen, window end, changed at, repeats, told: streams.stages.dedup_entry.Entry.
PACKED = struct.Struct("<BBqqqII")
SEVERITIES = {"info": 1, "warning": 2, "error": 3, "critical": 4}


def records(count: int, keys: int) -> Iterator[tuple[bytes, bytes]]:
    """Fingerprint and body of `count` alerts: every key once, then keys at random (seeded)."""
    chance = random.Random(1)
    names = tuple(SEVERITIES)
    for n in range(count):
        key = n if n < keys else chance.randrange(keys)
        service, dedup_key = f"service-{key % 20:02d}", f"switch-{key:07d}/port-{key % 48:02d}"
        alert = {
            "tenant": "default",
            "service": service,
            "dedup_key": dedup_key,
            "severity": names[key % 4],
            "summary": f"Port {key % 48} of switch {key:07d} is down",
            "source": f"sw-{key:07d}.example.com",
            "component": "switch",
            "group": "network",
            "labels": {"region": "eu-central", "rack": f"r{key % 300:03d}"},
            "received_at": int(time.time() * 1000),
            "padding": "",
        }
        body = orjson.dumps(alert)
        yield fingerprint(alert), body[:-2] + b"x" * (BODY_BYTES - len(body)) + body[-2:]


def fingerprint(alert: dict[str, Any]) -> bytes:
    """16 bytes that identify the alert's key. Cheaper than schemas.fingerprint: shared work hides the engines' cost."""
    return xxh3_128_digest(f"{alert['tenant']}\0{alert['service']}\0{alert['dedup_key']}".encode())


class Clock:
    """Times a contender from the end of the warm-up until `stop`. `count` is the total number of records."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seen = 0
        self._started = 0.0
        self._cpu_from = 0.0
        self._timed_from = 0

    def take(self, records: int) -> bool:
        """Count `records` processed records. Returns whether they were the last."""
        self.seen += records
        if not self._started and self.seen >= self.count * WARM_UP:
            self._started, self._timed_from = time.perf_counter(), self.seen
            self._cpu_from = time.process_time()
        return self.seen >= self.count

    def stop(self, **more: int) -> str:
        """The report: records a second and CPU microseconds per record, from the end of the warm-up until now."""
        seconds, timed = time.perf_counter() - self._started, self.seen - self._timed_from
        report = {
            "rate": round(timed / seconds),
            "cpu_us": round((time.process_time() - self._cpu_from) * 1e6 / timed, 2),
            "seconds": round(seconds, 3),
            "records": self.seen,
        }
        return orjson.dumps({**report, **more}).decode()
