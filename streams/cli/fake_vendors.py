"""`stormweir fake-vendors`: vendors to try deliveries against without an account."""

from typing import Annotated

import typer


def command(
    port: Annotated[
        int, typer.Option(min=0, max=65_000, help="The port of the first, the others follow; 0 takes free ones.")
    ] = 0,
) -> None:
    """Serve fakes of Slack and other vendors on loopback until Ctrl-C; they refuse what the vendors refuse.

    `GET /_seen` of each shows what it received, what it accepted and what people would see.
    """
    import asyncio
    import signal

    from aiohttp import web

    from sinks.fakes import fakes
    from streams.process.errors import OperatorError

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        runners: list[web.AppRunner] = []
        try:
            for place, (name, fake) in enumerate(sorted(fakes().items())):
                runner = web.AppRunner(fake.application(), access_log=None, shutdown_timeout=1.0)
                runners.append(runner)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", port + place if port else 0).start()
                print(f"{name:<12}http://127.0.0.1:{runner.addresses[0][1]}  {fake.about}", flush=True)
            await stop.wait()
        finally:
            for runner in runners:
                await runner.cleanup()

    try:
        asyncio.run(run())
    except OSError as error:
        raise OperatorError(f"fake-vendors: {error}") from None
