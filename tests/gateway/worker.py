"""A worker beside the gateway of a test, and the incidents that it makes."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.settings import Settings
from schemas.topics import INCIDENTS
from schemas.wire.codec import decode_incident
from schemas.wire.incident import Incident
from tests.conftest import PARTITIONS, FreePorts, free_base
from tests.gateway.conftest import wait_for


class Worker:
    """A worker process, which can be ended and started again where it was."""

    def __init__(self, bootstrap: str, free_ports: FreePorts, directory: Path) -> None:
        self._settings = Settings(kafka=bootstrap, port_base=free_base(free_ports), data_dir=directory / "data")
        self._log = directory / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it processes."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "worker"],
                env={**environ, **self._settings.environ()},
                stdout=output,
                stderr=output,
            )
        wait_for(self._ready, "a ready worker")

    def stop(self) -> None:
        """End it with SIGTERM, so that its partitions are free at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        url = f"http://127.0.0.1:{self._settings.port('admin.worker')}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


async def incidents_of(bootstrap: str, dedup_key: str) -> dict[bytes, Incident]:
    """The newest version of each incident of the key, by id, as the topic has them."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(INCIDENTS.name, partition) for partition in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[bytes, Incident] = {}
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for incident in (decode_incident(record.value) for record in records if record.value):
                    if incident.dedup_key == dedup_key:
                        found[incident.incident_id] = incident
        return found
    finally:
        await consumer.stop()
