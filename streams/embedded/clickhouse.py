"""`stormweir clickhouse`: the ClickHouse HTTP protocol on loopback in front of the embedded engine.

Clients that use ClickHouse over HTTP (clickhouse-connect, curl and others) connect with the token as password.
Tables must be in a database that was created: chdb's `default` database consists of files and has no tables.
"""

import asyncio
import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiohttp import web
from prometheus_client import Counter, Histogram

from schemas.settings import DEFAULT_TOKEN, Settings
from streams.embedded import clickhouse_coding as coding
from streams.embedded.clickhouse_engine import Engine, Result
from streams.embedded.clickhouse_protocol import (
    BAD_ARGUMENTS,
    INCORRECT_DATA,
    NOT_IMPLEMENTED,
    TOO_LARGE,
    TOO_MANY_QUERIES,
    ClickHouseError,
    Statement,
    authenticate,
    content_type,
    read_statement,
)
from streams.process.admin import AdminServer
from streams.process.errors import OperatorError
from streams.process.ports import listen

#: Bytes of a request's body, before and after decompression.
MAX_BODY = 128 * 1024 * 1024
#: Requests handled at once; further requests are answered with 503.
MAX_REQUESTS = 64
#: How long a stop waits for inserts.
STOP_GRACE_S = 5.0

REQUESTS = Counter("stormweir_clickhouse_requests_total", "Requests answered", ["kind", "code"])
SECONDS = Histogram("stormweir_clickhouse_request_seconds", "Time to answer a request", ["kind"])
WRITTEN = Counter("stormweir_clickhouse_written_rows_total", "Rows inserted")

_log = structlog.get_logger(__name__)


class ClickHouseServer:
    """The HTTP server of `engine`, in the running loop. Call `start`, then `stop`. A 200 answer is final."""

    def __init__(self, engine: Engine, host: str, port: int, token: str) -> None:
        self.host = host
        self.port = port
        self._engine = engine
        self._token = token
        self._taken = 0
        # Two pools, so that long queries never hold up the writer.
        self._reads = ThreadPoolExecutor(4, thread_name_prefix="clickhouse-read")
        self._writes = ThreadPoolExecutor(2, thread_name_prefix="clickhouse-write")
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/ping", _ok)
        app.router.add_route("*", "/", self._answer)
        # bodies stay encoded until `coding.decode` decodes them, within bounds
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=STOP_GRACE_S)

    async def start(self) -> None:
        """Listen. Raises PortInUseError."""
        await listen(self._runner, self.host, self.port, f"port {self.port} (clickhouse)")

    async def stop(self) -> None:
        """Close the port, cancel queries, give inserts `STOP_GRACE_S`, and wait until nothing runs."""
        for site in list(self._runner.sites):
            await site.stop()
        await asyncio.to_thread(self._engine.interrupt, inserts=False)
        await self._runner.cleanup()
        await asyncio.to_thread(self._engine.interrupt, inserts=True)
        await asyncio.to_thread(self._reads.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._writes.shutdown, cancel_futures=True)

    async def ready(self) -> str | None:
        """None when the engine answers, else its error."""
        try:
            await asyncio.to_thread(self._engine.ping)
        except ClickHouseError as error:
            return f"the engine answers error {error.code}"
        return None

    async def _answer(self, request: web.Request) -> web.Response:
        started = time.monotonic()
        kind, code = "other", 0
        self._taken += 1
        try:
            if request.method not in {"GET", "HEAD", "POST"}:
                raise ClickHouseError.of(NOT_IMPLEMENTED, "only GET and POST are offered", "NOT_IMPLEMENTED")
            if request.method == "GET" and not request.query_string:
                return await _ok(request)
            authenticate(self._token, request.query, request.headers)
            if self._taken > MAX_REQUESTS:
                raise ClickHouseError.of(
                    TOO_MANY_QUERIES, "Too many simultaneous queries", "TOO_MANY_SIMULTANEOUS_QUERIES"
                )
            statement = await self._statement(request)
            kind = "query" if statement.has_result else "write"
            pool = self._reads if statement.has_result else self._writes
            result = await asyncio.get_running_loop().run_in_executor(pool, self._engine.run, statement)
            WRITTEN.inc(result.written_rows)
            return await _response(request, statement, result)
        except ClickHouseError as error:
            code = error.code
            return web.Response(
                status=error.status,
                text=f"{error}\n",
                headers={"X-ClickHouse-Exception-Code": str(error.code), **_common(request)},
            )
        finally:
            self._taken -= 1
            REQUESTS.labels(kind, code).inc()
            SECONDS.labels(kind).observe(time.monotonic() - started)

    async def _statement(self, request: web.Request) -> Statement:
        query, body = dict(request.query), b""
        try:
            if request.content_type == "multipart/form-data":
                for name, value in (await request.post()).items():
                    if not isinstance(value, str):
                        raise ClickHouseError.of(NOT_IMPLEMENTED, "external data is not offered", "NOT_IMPLEMENTED")
                    query[name] = value
            else:
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise _too_large() from None
        except ValueError as error:
            raise ClickHouseError.of(BAD_ARGUMENTS, f"the form cannot be read: {error}", "BAD_ARGUMENTS") from None
        return await asyncio.to_thread(_read, request, query, body)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the server and its admin port until `stop` is set. Raises OperatorError when it cannot start."""
    if settings.host not in {"127.0.0.1", "::1", "localhost"} and settings.clickhouse_token == DEFAULT_TOKEN:
        raise OperatorError(
            f"ClickHouse would listen on {settings.host} with the token everybody knows: set STORMWEIR_CLICKHOUSE_TOKEN"
        )
    engine = Engine(settings.data_dir / "clickhouse")
    await asyncio.to_thread(engine.open)
    try:
        server = ClickHouseServer(engine, settings.host, settings.port("clickhouse"), settings.clickhouse_token)
        await server.start()
        try:
            async with AdminServer(settings.host, settings.port("admin.clickhouse"), ready=server.ready):
                _log.info("clickhouse is up", port=server.port, directory=str(settings.data_dir))
                await stop.wait()
        finally:
            await server.stop()
    finally:
        await asyncio.to_thread(engine.close)
    _log.info("clickhouse has stopped")


def _read(request: web.Request, query: dict[str, str], body: bytes) -> Statement:
    try:
        plain = coding.decode(body, request.headers.get("Content-Encoding", "").lower(), MAX_BODY)
    except coding.TooLargeError:
        raise _too_large() from None
    except coding.CodingError as error:
        raise ClickHouseError.of(INCORRECT_DATA, str(error), "INCORRECT_DATA") from None
    return read_statement(request.method, query, request.headers, plain)


def _too_large() -> ClickHouseError:
    return ClickHouseError.of(TOO_LARGE, f"the body is larger than {MAX_BODY} bytes", "TOO_MANY_BYTES")


async def _response(request: web.Request, statement: Statement, result: Result) -> web.Response:
    headers = _common(request)
    headers["X-ClickHouse-Summary"] = json.dumps({
        "read_rows": str(result.read_rows),
        "read_bytes": str(result.read_bytes),
        "written_rows": str(result.written_rows),
        "written_bytes": str(result.written_bytes),
        "elapsed_ns": str(int(result.elapsed_s * 1e9)),
    })  # fmt: skip
    if statement.has_result or result.body:
        headers["X-ClickHouse-Format"] = statement.output_format
    headers["Content-Type"] = content_type(statement.output_format)
    body = result.body
    if body and request.query.get("enable_http_compression", "0") == "1":
        chosen = coding.accepted(request.headers.get("Accept-Encoding", ""))
        if chosen:
            headers["Content-Encoding"] = chosen
            body = await asyncio.to_thread(coding.encode, body, chosen)
    return web.Response(body=body, headers=headers)


def _common(request: web.Request) -> dict[str, str]:
    given = request.query.get("query_id", "")
    return {
        "X-ClickHouse-Query-Id": given if re.fullmatch(r"[\w.:-]{1,100}", given) else str(uuid.uuid4()),
        "X-ClickHouse-Server-Display-Name": "stormweir",
        "X-ClickHouse-Timezone": "UTC",
    }


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")
