"""`stormweir gateway`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.settings import Settings


def command() -> None:
    """Take alerts over HTTP: answers 202 once Kafka has them."""
    import os

    import uvloop

    from schemas.settings import Settings
    from streams.process.logs import configure_logging

    settings = Settings.from_env(os.environ)
    configure_logging("gateway", settings.log_level)
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    import aiohttp

    from sinks.outbound import Outbound
    from streams.gateway.server import serve

    # A request waits for each fetch, so the timeouts are short.
    outbound = Outbound(settings.allowed_networks, aiohttp.ClientTimeout(total=10, connect=5))
    try:
        await serve(settings, outbound)
    finally:
        await outbound.close()
