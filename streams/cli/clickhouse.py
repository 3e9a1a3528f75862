"""`stormweir clickhouse`."""


def command() -> None:
    """Serve the embedded ClickHouse on loopback until SIGTERM."""
    import asyncio
    import os
    import signal

    from schemas.settings import Settings
    from streams.embedded.clickhouse import serve
    from streams.process.logs import configure_logging

    settings = Settings.from_env(os.environ)
    configure_logging("clickhouse", settings.log_level)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(settings, stop)

    asyncio.run(run())
