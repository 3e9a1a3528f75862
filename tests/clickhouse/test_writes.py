"""Batches are written once, whatever happens to the server in between."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from schemas.topics import ALERTS_HISTORY, INCIDENTS
from schemas.wire.rows import AlertOutcome
from sinks.clickhouse.batches import Batch, form
from sinks.clickhouse.client import ClickHouse, ClickHouseError
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.tables import TABLES
from streams.history.queries import CONSERVATION, OUTCOMES
from tests.clickhouse.conftest import TOKEN, Server
from tests.clickhouse.samples import Record, alert_row, history

ALERTS = TABLES[ALERTS_HISTORY.name]


def batch(first: int, count: int, per_record: int = 100) -> Batch:
    """`count` alerts in blocks of `per_record`, one record each, input offsets from `first * per_record`."""
    records = [
        history(n, [(at, alert_row(at)) for at in range(n * per_record, (n + 1) * per_record)])
        for n in range(first, first + count // per_record)
    ]
    return form(ALERTS, "", records, {})


async def test_a_repeated_batch_writes_nothing(clickhouse: ClickHouse) -> None:
    """The token makes a retry safe; another range is another batch."""
    for _ in range(3):
        await clickhouse.insert(batch(0, 1000))
    await clickhouse.insert(batch(10, 1000))
    (row,) = await clickhouse.query(CONSERVATION, {"since": 0})
    assert (row["count"], row["distinct"], row["first"], row["last"]) == (2000, 2000, 0, 1999)


async def test_repeats_at_the_same_time_write_once(clickhouse: ClickHouse) -> None:
    """A retry that overtakes its first attempt, which is still running, doubles nothing."""
    await asyncio.gather(*(clickhouse.insert(batch(0, 20_000)) for _ in range(4)))
    (row,) = await clickhouse.query(CONSERVATION, {"since": 0})
    assert row["count"] == row["distinct"] == 20_000


async def test_300_000_rows_in_one_insert(clickhouse: ClickHouse) -> None:
    """A batch of several engine blocks is taken whole, repeated for nothing, and counted by its outcomes."""
    large = batch(0, 300_000, per_record=1000)
    await clickhouse.insert(large)
    await clickhouse.insert(large)
    assert await clickhouse.query(OUTCOMES, {"since": 0}) == [{"outcome": "opened", "count": 300_000}]
    (row,) = await clickhouse.query(CONSERVATION, {"since": 0})
    assert row["distinct"] == row["offsets"] == row["last"] - row["first"] + 1 == 300_000


async def test_an_empty_batch_asks_nothing(clickhouse: ClickHouse) -> None:
    """Tombstones alone make a batch without rows; it is done at once, even without a server."""
    empty = form(TABLES[INCIDENTS.name], "", [Record(INCIDENTS.name, None, 5)], {})
    assert len(empty) == 0
    await ClickHouse("http://127.0.0.1:1", TOKEN, "x").insert(empty)


async def test_a_refused_insert_says_why_without_the_rows(clickhouse: ClickHouse) -> None:
    """The error has ClickHouse's number and the range, and nothing of the rows; the table has none of them."""
    record = history(0, [(0, alert_row(0, summary="swordfish"))])
    broken = form(ALERTS, "", [record], {})
    cut = replace(broken, rows=[broken.rows[0][:-20]])
    with pytest.raises(ClickHouseError) as caught:
        await clickhouse.insert(cut)
    assert caught.value.code
    assert cut.token(0, 1) in str(caught.value)
    assert "swordfish" not in str(caught.value)
    assert await clickhouse.query("SELECT count() AS n FROM alerts") == [{"n": 0}]
    await clickhouse.insert(broken)  # the failed attempt did not use up the token
    assert await clickhouse.query("SELECT count() AS n FROM alerts") == [{"n": 1}]


async def test_a_wrong_token_or_no_server_is_an_error(server: Server) -> None:
    """Nothing of the driver's own errors comes through, and the token is not in the text."""
    async with ClickHouse(server.url, "wrong-token", "default") as client:
        assert not await client.ping()
        with pytest.raises(ClickHouseError) as caught:
            await client.query("SELECT 1")
        assert caught.value.code == 516
        assert "wrong-token" not in str(caught.value)
    async with ClickHouse("http://127.0.0.1:1", TOKEN, "default") as client:
        assert not await client.ping()
        with pytest.raises(ClickHouseError) as caught:
            await client.insert(batch(0, 100))
        assert caught.value.code is None
    with pytest.raises(ValueError, match="http://"):
        ClickHouse("localhost:8123", TOKEN, "default")


@pytest.fixture
async def killable(own_server: Server) -> AsyncIterator[ClickHouse]:
    """A client of a server that the test ends and starts again."""
    own_server.start()
    await migrate(own_server.url, TOKEN, "stormweir")
    async with ClickHouse(own_server.url, TOKEN, "stormweir") as client:
        yield client


async def test_kill_9_loses_and_doubles_nothing(own_server: Server, killable: ClickHouse) -> None:
    """Inserts run, the server is killed, the same client goes on and repeats what was in doubt: each row once."""
    for kill in range(3):
        ranges = [range(kill * 40, kill * 40 + 40, 4)][0]
        writing = [asyncio.create_task(killable.insert(batch(first, 400))) for first in ranges]
        await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(own_server.end, signal.SIGKILL)
        results = await asyncio.gather(*writing, return_exceptions=True)
        assert all(result is None or isinstance(result, ClickHouseError) for result in results)
        await asyncio.to_thread(own_server.start)
        for first in ranges:
            await killable.insert(batch(first, 400))
    (row,) = await killable.query(CONSERVATION, {"since": 0})
    assert (row["count"], row["distinct"], row["last"]) == (12_000, 12_000, 11_999)


async def test_a_restart_keeps_everything(own_server: Server, killable: ClickHouse) -> None:
    """After SIGTERM data, tokens and migrations are still there."""
    await killable.insert(batch(0, 1000))
    assert await asyncio.to_thread(own_server.end, signal.SIGTERM) == 0
    assert not await killable.ping()
    await asyncio.to_thread(own_server.start)
    assert await migrate(own_server.url, TOKEN, "stormweir") == []
    await killable.insert(batch(0, 1000))
    assert await killable.query(OUTCOMES, {"since": 0}) == [
        {"outcome": AlertOutcome.OPENED.name.lower(), "count": 1000}
    ]
