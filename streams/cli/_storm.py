"""What `storm` and `demo` share: the ledger's queries to ClickHouse, and the progress bars."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.settings import Settings
from sinks.clickhouse.client import ClickHouse, ClickHouseError
from streams.process.errors import OperatorError
from streams.storm import play
from streams.storm.ledger import Query

_AWAY_S = 60.0
_RETRY_S = 0.5


@asynccontextmanager
async def ledger_query(settings: Settings) -> AsyncIterator[Query]:
    """Queries that survive a restart of ClickHouse; OperatorError when it is away for a minute."""
    async with ClickHouse(
        settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database
    ) as clickhouse:

        async def query(sql: str, params: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
            deadline = time.monotonic() + _AWAY_S
            while True:
                try:
                    return await clickhouse.query(sql, params)
                except ClickHouseError as error:
                    # An error code means that ClickHouse answered, and would answer the same again.
                    if error.code is not None or time.monotonic() > deadline:
                        raise OperatorError(f"ClickHouse at {settings.clickhouse_url}: {error}") from None
                    await asyncio.sleep(_RETRY_S)

        yield query


@contextmanager
def progress_bars(console: Console) -> Iterator[play.Progress]:
    """A bar for each phase of a storm; without a terminal, one line at the end of a phase."""
    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>10,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, tuple[Any, float]] = {}

        def report(phase: str, done: int, total: int) -> None:
            now = time.monotonic()
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total, rate=0.0), now
            task, started = tasks[phase]
            bars.update(task, completed=done, total=total, rate=done / max(now - started, 1e-9))

        yield report
