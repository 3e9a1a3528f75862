"""`stormweir demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.settings import Settings
    from streams.cli._progress import Lines
    from streams.embedded.kafka_jars import Progress
    from streams.embedded.stack import Stack
    from streams.storm.ledger import Query
    from streams.storm.summary import Summary

DIRECTORY = Path("var/demo")
SUMMARY = "summary.json"
_SERVICES = 20
_DEADLINE_S = 120.0


def command() -> None:
    """Start everything afresh in var/demo, play a storm of 120,000 alerts, prove that none was lost, stop.

    100,000 alerts of 2,000 keys over 20 services go through HTTP, 20,000 more through Kafka. On a terminal it goes on
    after that, with the page to look at, until Ctrl-C. Status 1 when an alert is missing or doubled.
    """
    import os
    from dataclasses import replace
    from ipaddress import ip_network

    import uvloop
    from rich.console import Console

    from schemas.settings import Settings
    from streams.cli._progress import Lines

    settings = replace(Settings.from_env(os.environ), data_dir=DIRECTORY, allowed_networks=(ip_network("127.0.0.0/8"),))
    console = Console(highlight=False)
    lines = Lines(console)
    progress = lines.progress
    _clear(DIRECTORY, progress)
    problems = uvloop.run(_run(settings, console, lines))
    for problem in problems:
        console.print(problem, style="red", markup=False)
    if problems:
        raise typer.Exit(1)
    progress(f"done; the summary is in {DIRECTORY / SUMMARY}")


async def _run(settings: Settings, console: Console, lines: Lines) -> list[str]:
    """Run the whole demo, until the end or SIGINT or SIGTERM; returns its problems."""
    import asyncio
    import signal
    import sys

    from streams.embedded.stack import PROCESSES, Stack
    from streams.process.errors import OperatorError

    stack = Stack(settings, lines.progress, ("receiver", *PROCESSES), lines.alarm)
    playing = asyncio.create_task(_play(settings, stack, console, lines.progress))
    stopping = asyncio.Event()

    def stop() -> None:
        playing.cancel()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        problems = await playing
        if sys.stdin.isatty() and not problems:
            lines.progress("all alerts are accounted for; Ctrl-C stops, until then look around")
            await stopping.wait()
        return problems
    except asyncio.CancelledError:
        raise OperatorError("the demo was stopped") from None
    finally:
        lines.progress("stopping")
        await stack.stop()


async def _play(settings: Settings, stack: Stack, console: Console, progress: Progress) -> list[str]:
    import orjson

    from streams.cli._storm import ledger_query, progress_bars
    from streams.cli._welcome import where_to_look
    from streams.process.errors import OperatorError
    from streams.storm.play import Plan, play, prepare
    from streams.storm.shapes import Size

    http = Plan(shape="storm", size=Size(alerts=100_000, keys=2_000, services=_SERVICES, seed=1))
    kafka = Plan(shape="storm", size=http.size._replace(alerts=20_000), via="kafka")
    if missing := await stack.start():
        raise OperatorError(f"the demo needs all of its processes; these did not start: {', '.join(missing)}")
    async with ledger_query(settings) as query:
        await prepare(settings, _SERVICES, gateway=True)
        progress(await where_to_look(settings))
        progress(f"playing {http.alerts:,} alerts through HTTP and {kafka.alerts:,} through Kafka")
        with progress_bars(console) as bars:
            summary = await play(settings, [http, kafka], query, _DEADLINE_S, bars)
        (settings.data_dir / SUMMARY).write_bytes(orjson.dumps(summary.json(), option=orjson.OPT_INDENT_2) + b"\n")
        await _show(settings, query, summary, console)
    return summary.problems


async def _show(settings: Settings, query: Query, summary: Summary, console: Console) -> None:
    """Print the results: the numbers, the noisiest keys, the last notification."""
    from rich.table import Table

    from schemas.control import DEFAULT_TENANT
    from streams.history.queries import NOISIEST

    console.print(summary.table())
    noisiest = Table("service", "key", "incident", "alerts", title="five incidents of the storm, the noisiest")
    for row in await query(NOISIEST, {"tenant": DEFAULT_TENANT, "since": 0, "limit": 5}):
        noisiest.add_row(row["service"], row["dedup_key"], row["summary"], f"{row['count']:,}")
    console.print(noisiest)
    journal = settings.data_dir / "receiver.jsonl"
    last = journal.read_text().splitlines()[-1:] if journal.exists() else []
    console.print("what the receiver noted last:", *last, markup=False, soft_wrap=True)


def _clear(directory: Path, progress: Progress) -> None:
    """Remove the files and processes that an earlier demo left; OperatorError while one runs."""
    import asyncio
    import fcntl
    import shutil

    from streams.embedded.processes import end_orphans
    from streams.embedded.stack import LOCK
    from streams.process.errors import OperatorError

    if not directory.exists():
        return
    if not (directory / LOCK).exists() and any(directory.iterdir()):
        raise OperatorError(f"{directory} holds files that are not a demo's: move them away")
    with (directory / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(f"{directory} is in use: another demo runs here") from None
        asyncio.run(end_orphans(directory, progress))
        shutil.rmtree(directory)
