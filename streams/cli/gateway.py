"""`stormweir gateway`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.config import Settings


def command() -> None:
    """Take alerts over HTTP: answers 202 once Kafka has them."""
    import os

    import uvloop

    from schemas.config import Settings
    from streams.process.logs import configure_logging

    settings = Settings.from_env(os.environ)
    configure_logging("gateway", settings.log_level)
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    from streams.gateway.server import serve

    await serve(settings)
