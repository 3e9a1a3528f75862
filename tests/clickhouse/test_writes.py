"""Batches are written once, whatever happens to the server in between."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from schemas.topics import ALERTS_HISTORY, DEADLETTERS, INCIDENTS
from schemas.wire.rows import AlertOutcome
from sinks.clickhouse.batches import Batch, form
from sinks.clickhouse.client import ClickHouse, ClickHouseError
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.tables import TABLES
from sinks.clickhouse.writer import Writer
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


async def test_a_topic_made_anew_drops_no_rows(clickhouse: ClickHouse) -> None:
    """The same offsets of another topic of that name are other rows; those of the same topic are repeats."""
    records = [history(0, [(0, alert_row(0, summary="of the old topic"))])]
    again = [history(0, [(0, alert_row(0, summary="of the new topic"))])]
    for topic_id, found in (("a1", records), ("a1", again), ("b2", again), ("b2", again)):
        await clickhouse.insert(form(ALERTS, topic_id, found, {}))
    rows = await clickhouse.query("SELECT summary FROM alerts ORDER BY summary")
    assert [row["summary"] for row in rows] == ["of the new topic", "of the old topic"]


@pytest.mark.parametrize(
    ("spoil", "row", "reason", "refused"),
    [
        ("ALTER TABLE alerts ADD CONSTRAINT known CHECK summary != 'bad'", {}, "469 VIOLATED_CONSTRAINT", True),
        ("SELECT 1", {"labels": "no map"}, "44 ILLEGAL_COLUMN", True),
        ("ALTER TABLE alerts MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1", {},
         "252 TOO_MANY_PARTS", False),
        ("ALTER TABLE alerts DROP COLUMN rule", {}, "16 NO_SUCH_COLUMN_IN_TABLE", False),
        ("DROP TABLE alerts", {}, "60 UNKNOWN_TABLE", False),
    ],
)  # fmt: skip
async def test_what_is_about_the_rows_is_told_from_what_is_not(
    clickhouse: ClickHouse, spoil: str, row: dict[str, object], reason: str, refused: bool
) -> None:
    """The engine's own errors, each with number and name: a table that does not fit now is waited for, rows that never
    will are refused. Nothing of either is written, and nothing that was not written is answered as if it were.
    """
    writer = Writer(ALERTS, clickhouse)
    await clickhouse.insert(batch(0, 100))
    await clickhouse.command(spoil)
    bad = form(ALERTS, "", [history(9, [(900, alert_row(900, summary="bad", **row))])], {})
    if refused:
        assert await writer.write(bad, 0, 1) == reason
    else:
        with pytest.raises(ClickHouseError) as caught:
            await writer.write(bad, 0, 1)
        assert writer.reason(caught.value) == reason
    if "DROP TABLE" not in spoil:
        assert await clickhouse.query("SELECT count() AS n FROM alerts") == [{"n": 100}]


async def test_a_server_that_is_away_or_shut_is_waited_for(server: Server) -> None:
    """No connection and a wrong password are no refusal of rows; the reason has no password in it."""
    for url, token, reason in (
        ("http://127.0.0.1:1", TOKEN, "OperationalError"),
        (server.url, "wrong-token", "516 AUTHENTICATION_FAILED"),
    ):
        async with ClickHouse(url, token, "default") as client:
            writer = Writer(ALERTS, client)
            with pytest.raises(ClickHouseError) as caught:
                await writer.write(batch(0, 100), 0, 100)
            assert writer.reason(caught.value) == reason


def test_a_refused_dead_letter_makes_no_other(server: Server) -> None:
    """A letter about a letter would be refused again, for ever."""
    table = TABLES[DEADLETTERS.name]
    letters = form(table, "", [Record(DEADLETTERS.name, b"x")], {})
    assert Writer(table, ClickHouse(server.url, TOKEN, "default")).dead_letter(letters, 0, "117 INCORRECT_DATA") is None


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
