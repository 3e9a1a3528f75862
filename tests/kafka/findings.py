"""What `stormweir doctor --kafka` finds wrong."""

import asyncio

from streams.process.diagnose import diagnose
from streams.process.kafka import Kafka
from tests.engine.harness import until


def problems(kafka: Kafka, process: str = "gateway") -> list[str]:
    """What is wrong for a process, one line each."""

    async def run() -> list[str]:
        found = [finding.text async for finding in diagnose(kafka, [process]) if finding.problem]
        # aiokafka does not wait for the end of a TLS connection that it closes.
        transports = asyncio.get_running_loop()._transports
        await until(lambda: all(transport._sock is None for transport in transports.values()), 10, "closed sockets")
        return found

    return asyncio.run(run())
