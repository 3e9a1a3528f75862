"""The embedded ClickHouse answers its HTTP protocol as clients expect it, from the real engine."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import aiohttp
import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from sinks.clickhouse.client import ClickHouse, ClickHouseError
from tests.clickhouse.conftest import TOKEN, Server

KEY = {"X-ClickHouse-Key": TOKEN}


def ask(server: Server, path: str, body: bytes | None = None, headers: dict[str, str] = KEY) -> Any:
    """(status, headers, text) of a plain HTTP request, as curl makes it."""
    request = urllib.request.Request(server.url + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def connect(server: Server, **options: Any) -> Any:
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=server.settings.port("clickhouse"), password=TOKEN, **options
    )


def test_plain_http(server: Server) -> None:
    """Query in the URL or the body, parameters, settings, formats and a summary, as with curl."""
    assert ask(server, "/ping", headers={})[::2] == (200, "Ok.\n")
    assert ask(server, "/", headers={})[::2] == (200, "Ok.\n")
    status, headers, text = ask(server, "/?query=SELECT+1,'a'&query_id=my-id")
    assert (status, text) == (200, "1\ta\n")
    assert headers["X-ClickHouse-Format"] == "TabSeparated"
    assert headers["X-ClickHouse-Query-Id"] == "my-id"
    assert json.loads(headers["X-ClickHouse-Summary"])["read_rows"] == "1"
    path = "/?param_x=a%5Ctb&max_threads=1&default_format=JSONEachRow"
    _, _, text = ask(server, path, b"SELECT {x:String} AS x, getSetting('max_threads') AS n")
    assert json.loads(text) == {"x": "a\tb", "n": 1}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/", b"SELECT 1", {}, 401, 194),
        ("/", b"SELECT 1", {"X-ClickHouse-Key": "wrong"}, 403, 516),
        ("/?user=default&password=wrong", b"SELECT 1", {}, 403, 516),
        ("/", b"SELECT nope", KEY, 404, 47),
        ("/", b"SELEC 1", KEY, 400, 62),
        ("/?database=nope", b"SELECT 1", KEY, 404, 81),
        ("/?nope=1", b"SELECT 1", KEY, 404, 115),
        ("/", b"SELECT 1 FORMAT Nope", KEY, 404, 73),
        ("/", b"SELECT {x:UInt8}", KEY, 400, 456),
        ("/?max_execution_time=1", b"SELECT count() FROM numbers(1e15) WHERE NOT ignore(number)", KEY, 408, 159),
        ("/?max_memory_usage=1000000", b"SELECT groupArray(number) FROM numbers(1e7)", KEY, 500, 241),
        ("/?max_memory_usage=0", b"SELECT 1", KEY, 400, 452),
        ("/?async_insert=1", b"SELECT 1", KEY, 400, 452),
        ("/?query=CREATE+DATABASE+x", None, KEY, 403, 164),
        ("/", b"SELECT * FROM file('/etc/hostname', 'LineAsString')", KEY, 403, 497),
        ("/", b"SELECT * FROM url('http://127.0.0.1/', 'LineAsString')", KEY, 403, 497),
        ("/", b"SELECT 1 INTO OUTFILE '/tmp/x'", KEY, 403, 497),
        ("/", b"SYSTEM SHUTDOWN", KEY, 403, 497),
        ("/", b"CREATE USER x", KEY, 403, 497),
        ("/", b"x", {**KEY, "Content-Encoding": "lz4"}, 400, 117),
    ],
)
def test_errors(server: Server, path: str, body: bytes | None, headers: dict[str, str], status: int, code: int) -> None:
    """Errors carry ClickHouse's number in the header, a fitting status and the text as body."""
    found, answered, text = ask(server, path, body, headers)
    assert (found, answered["X-ClickHouse-Exception-Code"]) == (status, str(code)), text
    assert text.startswith(f"Code: {code}. ")
    assert TOKEN not in text


def test_a_setting_of_one_request_does_not_reach_the_next(server: Server) -> None:
    """Every request is a session of its own, also after SET and USE in its SQL."""
    default = ask(server, "/", b"SELECT getSetting('max_threads'), currentDatabase()")[2]
    assert ask(server, "/", b"SET max_threads = 7")[0] == 200
    assert ask(server, "/", b"USE system")[0] == 200
    for _ in range(8):
        assert ask(server, "/", b"SELECT getSetting('max_threads'), currentDatabase()")[2] == default


def test_sync_client(server: Server, clickhouse: ClickHouse) -> None:
    """clickhouse-connect's sync client: DDL, typed and raw inserts, parameters, compression, errors."""
    database = clickhouse._database
    with connect(server, database=database) as client:
        client.command(
            "CREATE TABLE t (id UInt64, name String, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY id"
        )
        summary = client.insert("t", [[1, "ä\t'", 0], [2, "b\\", 5]], column_names=["id", "name", "at"])
        assert summary.written_rows == 2
        client.raw_insert("t", ["id", "name"], b'{"id":3,"name":"c"}\n', fmt="JSONEachRow")
        for coding in ("lz4", "zstd", "gzip"):
            body = coding_of(coding, b"4,d\n")
            client.raw_insert("t", ["id", "name"], body, fmt="CSV", compression=coding)
        rows = client.query("SELECT id, name FROM t WHERE id < {n:UInt8} ORDER BY id", parameters={"n": 4}).result_rows
        assert rows == [(1, "ä\t'"), (2, "b\\"), (3, "c")]
        assert client.command("SELECT count() FROM t") == 6
        name = client.query("SELECT {s:String} AS s", parameters={"s": "a\tb'\\\n"}).first_item["s"]
        assert name == "a\tb'\\\n"
        with pytest.raises(DatabaseError) as caught:
            client.query("SELECT nope FROM t")
        assert caught.value.code == 47
        with client.query_row_block_stream("SELECT number FROM numbers(100000)") as blocks:
            assert sum(len(block) for block in blocks) == 100_000


def coding_of(name: str, body: bytes) -> bytes:
    from streams.embedded.clickhouse_coding import encode

    return encode(body, name)


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
async def test_async_client(server: Server, clickhouse: ClickHouse, compress: str | bool) -> None:
    """clickhouse-connect's async client: many queries at once and inserts, in every compression."""
    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1",
        port=server.settings.port("clickhouse"),
        password=TOKEN,
        database=clickhouse._database,
        compress=compress,
        autogenerate_session_id=False,
    )
    async with client:
        await client.command("CREATE TABLE t (id UInt64, labels Map(String, String)) ENGINE = MergeTree ORDER BY id")
        await client.insert("t", [[n, {"a": "b" * n}] for n in range(100)], column_names=["id", "labels"])
        results = await asyncio.gather(
            *(client.query("SELECT labels FROM t WHERE id = {n:UInt64}", parameters={"n": n}) for n in range(20))
        )
        assert [result.result_rows[0][0]["a"] for result in results] == ["b" * n for n in range(20)]
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            await client.query("SELECT * FROM nope")


async def test_form_encoded_parameters(server: Server) -> None:
    """Query and parameters may come as a multipart form; external data is refused."""
    async with aiohttp.ClientSession(headers=KEY) as session:
        form = aiohttp.FormData()
        form.add_field("query", "SELECT {x:String}", content_type="text/plain")
        form.add_field("param_x", "y", content_type="text/plain")
        async with session.post(server.url, data=form) as answer:
            assert await answer.text() == "y\n"
        form = aiohttp.FormData()
        form.add_field("query", "SELECT 1", content_type="text/plain")
        form.add_field("t", b"1", filename="t.csv")
        async with session.post(server.url, data=form) as answer:
            assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (501, "48")


async def test_too_large_a_body(server: Server) -> None:
    """A body over the limit is 413, also when only its plain form is too large."""
    bomb = coding_of("gzip", b"INSERT INTO t FORMAT CSV\n" + bytes(129 * 1024 * 1024))
    coded = {**KEY, "Content-Encoding": "gzip"}
    async with aiohttp.ClientSession() as session, session.post(server.url, data=bomb, headers=coded) as answer:
        assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (413, "307")


async def test_too_many_requests(server: Server) -> None:
    """Beyond the limit of requests at once the answer is 503; those taken in are answered."""
    sql = "SELECT sleepEachRow(0.15) FROM numbers(1) FORMAT Null"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=KEY, connector=connector) as session:

        async def one() -> int:
            async with session.post(server.url, data=sql) as answer:
                await answer.read()
                return answer.status

        statuses = await asyncio.gather(*(one() for _ in range(120)))
    assert statuses.count(200) >= 64
    assert set(statuses) == {200, 503}


async def test_long_reads_do_not_hold_up_inserts(server: Server, clickhouse: ClickHouse) -> None:
    """Analysts' queries and the writer's inserts run apart."""
    await clickhouse.command("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    slow = [asyncio.create_task(clickhouse.query("SELECT sleepEachRow(0.5) FROM numbers(4)")) for _ in range(8)]
    await asyncio.sleep(0)
    started = time.monotonic()
    await clickhouse.command("INSERT INTO t VALUES (1)")
    assert time.monotonic() - started < 1
    assert not all(task.done() for task in slow)
    await asyncio.gather(*slow)


async def test_admin_port(server: Server) -> None:
    """The admin port tells life, readiness and counts."""
    async with aiohttp.ClientSession() as session:
        for path in ("/livez", "/readyz"):
            async with session.get(server.admin + path) as answer:
                assert answer.status == 200
        async with session.post(server.url, data="SELECT nope", headers=KEY) as answer:
            assert answer.status == 404
        async with session.get(server.admin + "/metrics") as answer:
            assert 'stormweir_clickhouse_requests_total{code="47",kind="query"}' in await answer.text()


def test_a_second_process_on_the_folder_is_told_so(server: Server) -> None:
    """The message names the folder and what to do, and the first process goes on."""
    with server.spawn() as second:
        assert second.wait(30) == 2
    assert "is in use by another process" in server.log.read_text()
    assert ask(server, "/", b"SELECT 1")[0] == 200


def test_a_port_in_use_is_told(own_server: Server, server: Server, tmp_path: Any) -> None:
    """Another folder on the same port ends with the port and the setting that moves it."""
    own_server.settings = server.settings.__class__(data_dir=tmp_path / "x", port_base=server.settings.port_base)
    with own_server.spawn() as process:
        assert process.wait(30) == 2
    assert "STORMWEIR_PORT_BASE" in own_server.log.read_text()


async def test_sigterm_ends_a_busy_server_quickly(own_server: Server) -> None:
    """Queries are cancelled, the data is closed, the status is 0, within 5 s."""
    own_server.start()
    client = ClickHouse(own_server.url, TOKEN, "default")
    endless = asyncio.create_task(
        client.query("SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))")
    )
    deadline = time.monotonic() + 20
    while not await client.query("SELECT 1 FROM system.processes WHERE elapsed > 0.2"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    started = time.monotonic()
    assert await asyncio.to_thread(own_server.end, signal.SIGTERM) == 0
    assert time.monotonic() - started < 5
    with pytest.raises(ClickHouseError, match="QUERY_WAS_CANCELLED"):
        await endless
    await client.close()


def test_the_engine_says_nothing_on_stdout_about_secrets(server: Server) -> None:
    """The process log holds neither the token nor a statement."""
    ask(server, "/?password=" + TOKEN, b"SELECT 'swordfish' FROM nope", headers={})
    log = server.log.read_text()
    assert TOKEN not in log
    assert "swordfish" not in log


def test_listing_commands_does_not_load_the_engine() -> None:
    """`stormweir --help` stays quick: chdb is imported when the server opens it."""
    code = "import sys; from streams.cli import build; build(); print('chdb' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"False\n"
