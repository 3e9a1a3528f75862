"""The only client of ClickHouse, for a real server and the embedded one: clickhouse-connect's async HTTP client."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError as DriverError

from sinks.clickhouse.batches import Batch

_CONNECT_TIMEOUT_S = 5
_ANSWER_TIMEOUT_S = 90
_INSERT_SETTINGS = {
    # an insert is answered only once it is in the table, as the one block that its token names
    "async_insert": "0",
    "wait_end_of_query": "1",
    # a replay may span more days than ClickHouse's default lets one insert touch
    "throw_on_max_partitions_per_insert_block": "0",
}


#: Errors caused by the rows' content: the same rows would be rejected again. All other errors (a wrong password, no
#: space, a table that is read-only, has too many parts or other columns) can be solved without changing the rows.
_CONTENT_CODES = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  # ATTEMPT_TO_READ_AFTER_EOF
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        44,  # ILLEGAL_COLUMN: the MsgPack reader says so of a value of another type
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA: the MsgPack reader says so of bytes it cannot read and of rows that end early
        128,  # TOO_LARGE_ARRAY_SIZE
        130,  # CANNOT_READ_ARRAY_FROM_TEXT
        131,  # TOO_LARGE_STRING_SIZE
        169,  # BAD_TYPE_OF_FIELD
        170,  # BAD_GET
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        376,  # CANNOT_PARSE_UUID
        407,  # DECIMAL_OVERFLOW
        467,  # CANNOT_PARSE_BOOL
        469,  # VIOLATED_CONSTRAINT
        563,  # CANNOT_READ_MAP_FROM_TEXT
        632,  # UNEXPECTED_DATA_AFTER_PARSED_VALUE
        675,  # CANNOT_PARSE_IPV4
        676,  # CANNOT_PARSE_IPV6
        691,  # UNKNOWN_ELEMENT_OF_ENUM
        760,  # UNICODE_ERROR
    }
)


class ClickHouseError(RuntimeError):
    """ClickHouse could not be reached, or answered with an error. `code` is its error number, None without an answer.

    `reason` is one of few short texts: `469 VIOLATED_CONSTRAINT`, for example, or without an answer the error's type.
    """

    def __init__(self, message: str, code: int | None, reason: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    @property
    def about_rows(self) -> bool:
        """Whether ClickHouse rejected an insert for the content of its rows, and would reject it again. No row was
        written then: a batch is one block, which ClickHouse accepts or rejects as a whole.
        """
        return self.code in _CONTENT_CODES


class ClickHouse:
    """A client of one database. It connects when first used, and reconnects after the server was away.

    It retries nothing: after a ClickHouseError the caller repeats the same batch until it is written.
    """

    def __init__(self, url: str, token: str, database: str) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in {"http", "https"} or not self._url.hostname:
            raise ValueError("the ClickHouse address must be http://host:port or https://host:port")
        self._token = token
        self._database = database
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def insert(self, batch: Batch, start: int = 0, stop: int | None = None) -> None:
        """Write rows [start, stop) of the batch; they are written once, even if the call is repeated.

        Raises ClickHouseError, whose text does not contain the rows.
        """
        stop = len(batch) if stop is None else stop
        if start == stop:
            return
        token = batch.token(start, stop)
        try:
            client = await self._connected()
            await client.raw_insert(
                batch.table.name,
                column_names=batch.table.columns,
                insert_block=b"".join(batch.rows[start:stop]),
                fmt="MsgPack",
                settings={**_INSERT_SETTINGS, "insert_deduplication_token": token},
            )
        except (DriverError, OSError, TimeoutError) as error:
            code, reason = _code_and_reason(error)
            raise ClickHouseError(f"insert of {token} failed: {reason}", code, reason) from None

    async def query(self, sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """The rows of a SELECT as dicts by column name; `params` fill in `{name:Type}`. Raises ClickHouseError."""
        try:
            client = await self._connected()
            result = await client.query(sql, parameters=dict(params or {}))
        except (DriverError, OSError, TimeoutError) as error:
            raise _failed(error) from error
        return list(result.named_results())

    async def stream(self, sql: str, params: Mapping[str, object] | None = None) -> AsyncIterator[dict[str, Any]]:
        """Like `query`, but a block at a time: no more than a block is in memory. Raises ClickHouseError."""
        try:
            client = await self._connected()
            async with await client.query_row_block_stream(sql, parameters=dict(params or {})) as blocks:
                names = blocks.source.column_names
                async for block in blocks:
                    for row in block:
                        yield dict(zip(names, row, strict=True))
        except (DriverError, OSError, TimeoutError) as error:
            raise _failed(error) from error

    async def command(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Run a statement without result rows, for example DDL. Raises ClickHouseError."""
        try:
            client = await self._connected()
            await client.command(sql, parameters=dict(params or {}))
        except (DriverError, OSError, TimeoutError) as error:
            raise _failed(error) from error

    async def ping(self) -> bool:
        """Whether the database answers a query."""
        try:
            await self.query("SELECT 1")
        except ClickHouseError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await clickhouse_connect.get_async_client(
                    interface=self._url.scheme,
                    host=self._url.hostname,
                    port=self._url.port or (8443 if self._url.scheme == "https" else 8123),
                    username="default",
                    password=self._token,
                    database=self._database,
                    connect_timeout=_CONNECT_TIMEOUT_S,
                    send_receive_timeout=_ANSWER_TIMEOUT_S,
                    autogenerate_session_id=False,
                    query_retries=0,
                    compress=False,
                    # in a URL, long parameters would be refused by servers and proxies
                    form_encode_query_params=True,
                )
            return self._client


def _failed(error: Exception) -> ClickHouseError:
    return ClickHouseError(str(error) or type(error).__name__, *_code_and_reason(error))


def _code_and_reason(error: Exception) -> tuple[int | None, str]:
    code: int | None = getattr(error, "code", None)
    return code, f"{code} {getattr(error, 'name', None) or ''}".rstrip() if code else type(error).__name__
