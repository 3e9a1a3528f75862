"""`stormweir up`."""


def command() -> None:
    """Run all of Stormweir on this machine until Ctrl-C: Kafka, ClickHouse and our processes."""
    import asyncio
    import os
    import signal

    from rich.console import Console

    from schemas.settings import Settings
    from streams.cli._progress import Lines
    from streams.cli._welcome import where_to_look
    from streams.embedded.stack import Stack

    settings = Settings.from_env(os.environ)
    lines = Lines(Console(highlight=False))
    progress = lines.progress

    async def serve(stack: Stack) -> None:
        missing = await stack.start()
        address = f"send alerts to http://{settings.host}:{settings.port('gateway')}; Ctrl-C stops"
        progress(await where_to_look(settings))
        if missing:
            lines.alarm(f"running without {', '.join(missing)}, which will be tried again: {address}")
        else:
            progress(f"ready: {address}")
        await stack.wait()

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        stack = Stack(settings, progress, alarm=lines.alarm)
        serving = asyncio.create_task(serve(stack))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            progress("stopping")
        serving.cancel()
        try:
            await serving
        except asyncio.CancelledError:
            pass
        finally:
            stopping.cancel()
            await stack.stop()
        progress("stopped")

    asyncio.run(run())
