"""Makes the archive of Kafka's loaded classes, which saves more than a second of each start.

https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html (dynamic archives)
"""

import os
import socket
import sys
import tempfile
from pathlib import Path

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.kafka_jars import Progress, archive_of, default_jars
from streams.process.errors import OperatorError


def make_archive(jars: Path, progress: Progress) -> None:
    """Start and stop a broker that records its classes, unless the archive exists. Raises OperatorError."""
    archive = archive_of(jars)
    if archive.is_file():
        return
    progress("starting Kafka once, to make its later starts faster")
    partial = archive.with_name(f"{archive.name}.partial-{os.getpid()}")
    try:
        with tempfile.TemporaryDirectory(prefix="stormweir-kafka-") as directory:
            kafka = EmbeddedKafka(Path(directory) / "kafka", _free_port(), _free_port(), jars=jars, record=partial)
            kafka.start()
            kafka.stop()
        if partial.is_file():
            partial.rename(archive)
    finally:
        partial.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    try:
        make_archive(default_jars(Path("var")), print)
    except OperatorError as error:
        # Kafka works without it.
        print(f"no archive of Kafka's classes: {error}", file=sys.stderr)
