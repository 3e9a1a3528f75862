"""Our one way to ClickHouse, a real server or the embedded one: clickhouse-connect's async HTTP client."""

import asyncio
from collections.abc import Mapping
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
    # an answered insert is in the table, in the block that its token names
    "async_insert": "0",
    "wait_end_of_query": "1",
    # a replay may span more days than ClickHouse's default lets one insert touch
    "throw_on_max_partitions_per_insert_block": "0",
}


class ClickHouseError(RuntimeError):
    """ClickHouse could not be reached or refused. `code` is its error number, None without an answer."""

    def __init__(self, message: str, code: int | None) -> None:
        super().__init__(message)
        self.code = code


class ClickHouse:
    """A client of one database. It connects when first used, and again after the server was away.

    Nothing is retried here: after a ClickHouseError the caller repeats the same batch until it is written.
    """

    def __init__(self, url: str, token: str, database: str) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in {"http", "https"} or not self._url.hostname:
            raise ValueError("the ClickHouse address must be http://host:port or https://host:port")
        self._token = token
        self._database = database
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def insert(self, batch: Batch) -> None:
        """Write the batch once, however often it is repeated. Raises ClickHouseError, without the rows' text."""
        if not batch.row_count:
            return
        try:
            client = await self._connected()
            await client.raw_insert(
                batch.table.name,
                column_names=batch.table.columns,
                insert_block=batch.body,
                fmt="MsgPack",
                settings={**_INSERT_SETTINGS, "insert_deduplication_token": batch.token},
            )
        except (DriverError, OSError, TimeoutError) as error:
            code, name = getattr(error, "code", None), getattr(error, "name", None)
            what = f"error {code} {name or ''}".rstrip() if code else type(error).__name__
            raise ClickHouseError(f"insert of {batch.token} failed: {what}", code) from None

    async def query(self, sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """The rows of a SELECT as dicts by column name; `params` fill `{name:Type}`. Raises ClickHouseError."""
        try:
            client = await self._connected()
            result = await client.query(sql, parameters=dict(params or {}))
        except (DriverError, OSError, TimeoutError) as error:
            raise _failed(error) from error
        return list(result.named_results())

    async def command(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Run a statement without rows, DDL for instance. Raises ClickHouseError."""
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
                )
            return self._client


def _failed(error: Exception) -> ClickHouseError:
    return ClickHouseError(str(error) or type(error).__name__, getattr(error, "code", None))
