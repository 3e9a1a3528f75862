"""The smallest possible handler on the gateway's server: read the body, answer 202. Arguments: host, port."""

import asyncio
import gc
import signal
import sys
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from streams.gateway.server import CONCURRENCY


async def answer(scope: Any, exchange: Any) -> None:
    """Answer one request."""
    if scope.proto == "http":
        await exchange()
        exchange.response_bytes(202, [("content-type", "application/json")], b'{"status":"accepted"}')


async def serve(host: str, port: int) -> None:
    """Run until SIGTERM, on a server that is configured like the gateway's."""
    server = Server(
        answer,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=CONCURRENCY,
        backpressure=CONCURRENCY,
        log_enabled=False,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
