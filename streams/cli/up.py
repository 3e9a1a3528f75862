"""`stormweir up`."""


def command() -> None:
    """Run all of Stormweir on this machine until Ctrl-C: Kafka, ClickHouse and our processes."""
    import asyncio
    import os
    import signal
    import time

    from rich.console import Console

    from schemas.settings import Settings
    from streams.embedded.stack import Stack

    settings = Settings.from_env(os.environ)
    console = Console(highlight=False)
    began = time.monotonic()

    def progress(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]", end="  ")
        console.print(line, markup=False, soft_wrap=True)

    async def serve(stack: Stack) -> None:
        await stack.start()
        progress(f"ready: send alerts to http://{settings.host}:{settings.port('gateway')}; Ctrl-C stops")
        await stack.wait()

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        stack = Stack(settings, progress)
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
