"""`stormweir receiver`: a sample target for webhooks."""

from typing import Annotated

import typer


def command(
    secret: Annotated[
        str | None,
        typer.Option(envvar="RECEIVER_SECRET", help="Refuse what this destination secret did not sign."),
    ] = None,
) -> None:
    """Receive webhooks, note each in receiver.jsonl of the data directory; GET /summary counts them."""
    import asyncio
    import os
    import signal
    from contextlib import closing

    from schemas.settings import Settings
    from sinks.receiver import Receiver, serve
    from streams.process.errors import OperatorError

    settings = Settings.from_env(os.environ)

    async def run(receiver: Receiver) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(receiver, settings.host, settings.port("receiver"), stop)

    try:
        with closing(Receiver(settings.data_dir / "receiver.jsonl", secret)) as receiver:
            asyncio.run(run(receiver))
    except (OSError, ValueError) as error:
        raise OperatorError(f"receiver: {error}") from None
