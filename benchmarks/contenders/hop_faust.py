"""Stock Faust as its documentation shows it: an agent, a tumbling table, a send for the first alert of a window.

Arguments: bootstrap, source topic, output topic, number of records, application id, data directory.
https://faust-streaming.github.io/faust/userguide/tables.html#windowing
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import faust
import orjson
import uvloop

from benchmarks.contenders.hop_data import PARTITIONS, WINDOW_MS, Clock, fingerprint


def main(bootstrap: str, source: str, output: str, count: int, name: str, data_dir: Path) -> None:
    """Run until the report is printed."""
    uvloop.install()
    app = faust.App(
        name,
        broker=f"aiokafka://{bootstrap}",
        datadir=str(data_dir),
        store="memory://",
        web_enabled=False,
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10.0,
        broker_rebalance_timeout=10.0,
        broker_heartbeat_interval=2.0,
    )
    incoming = app.topic(source, value_serializer="raw", key_serializer="raw")
    outgoing = app.topic(output, value_serializer="raw", key_serializer="raw")
    window = timedelta(milliseconds=WINDOW_MS)
    counts = app.Table("counts", default=int, partitions=PARTITIONS).tumbling(window, expires=window)
    clock = Clock(count)
    forwarded = 0

    async def hop(stream: Any) -> None:
        nonlocal forwarded
        async for event in stream.events():
            alert = orjson.loads(event.value)
            key = fingerprint(alert).hex()
            counts[key] += 1
            if counts[key].current() == 1:
                forwarded += 1
                await outgoing.send(key=bytes.fromhex(key), value=event.value)
            if clock.take(1):
                os.write(1, clock.stop(forwarded=forwarded).encode())
                os._exit(0)

    app.agent(incoming)(hop)
    faust.Worker(app, loglevel="error", redirect_stdouts=False, quiet=True).execute_from_commandline()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*arguments[:3], int(arguments[3]), arguments[4], Path(arguments[5]))  # type: ignore[call-arg,arg-type]
