"""The real ClickHouse engine inside this process (chdb): one folder, one process, many statements at a time.

Every statement has a connection of its own (0.3 ms), so the settings of one do not affect another. The engine's user
may use tables and nothing else: no files, URLs, remote servers, functions or users (see `_GRANTS`).
"""

import fcntl
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from streams.embedded.clickhouse_protocol import ClickHouseError, Statement
from streams.process.errors import OperatorError

if TYPE_CHECKING:
    from chdb.state.sqlitelike import Connection

GIB = 1 << 30
_SERVER = {
    "max_server_memory_usage": 4 * GIB,
    "mark_cache_size": GIB // 8,
    # merges are limited, so that the streams get the CPU
    "background_pool_size": 4,
}
#: Merge tree settings that must fit a small pool, or the engine refuses to start.
_MERGE_TREE = {
    "number_of_free_entries_in_pool_to_execute_mutation": 4,
    "number_of_free_entries_in_pool_to_execute_optimize_entire_partition": 4,
    "number_of_free_entries_in_pool_to_lower_max_size_of_merge": 4,
}
#: setting: (value, smallest and largest value that a statement may ask for)
_PROFILE = {
    "max_memory_usage": (GIB * 3 // 2, 1, 2 * GIB),
    "max_threads": (2, 1, 16),
    "max_execution_time": (60, 1, 600),
    "max_result_bytes": (GIB // 4, 1, GIB // 4),
    # when an insert is answered, its rows are in the table, in the block that its token names
    "async_insert": (0, 0, 0),
}
_GRANTS = (
    "SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, "
    "DROP, TRUNCATE, OPTIMIZE, SHOW, KILL QUERY ON *.*"
)


@dataclass(frozen=True, slots=True)
class Result:
    """The formatted result of a statement, and the counts of X-ClickHouse-Summary."""

    body: bytes
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_s: float = 0.0


class Engine:
    """The engine on `directory`. Call `open` first; call `run` from any thread, which it blocks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._config = self._directory / "config"
        self._held: Connection | None = None

    def open(self) -> None:
        """Open or create the data. Raises OperatorError if another process holds the folder or it is not usable."""
        if set(str(self._directory)) & set("?&%#+"):
            raise OperatorError(f"{self._directory}: the data directory's name may not contain any of ? & % # +")
        self._directory.mkdir(parents=True, exist_ok=True)
        self._refuse_second()
        self._write_config()
        try:
            self._held = self._connect()  # keeps the engine in the process between statements
        except RuntimeError as error:
            raise OperatorError(f"{self._directory} does not open as ClickHouse data: {error}") from None

    def close(self) -> None:
        """Close the data. Statements must have ended."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def run(self, statement: Statement) -> Result:
        """Run one statement to its end. Raises ClickHouseError."""
        connection = self._connect()
        try:
            if statement.database:
                connection.query(f"USE {_quote(statement.database, '`')}")
            # `readonly` comes last: after it nothing can be set
            names = sorted(statement.settings, key=lambda name: name == "readonly")
            for name in names:
                connection.query(f"SET {name} = {_quote(statement.settings[name], chr(39))}")
            if statement.data is not None:
                return _insert(connection, statement, statement.data)
            return _query(connection, statement)
        except (RuntimeError, _chdb_error()) as error:
            raise ClickHouseError.from_engine(str(error)) from None
        finally:
            connection.close()

    def ping(self) -> None:
        """Run `SELECT 1`. Raises ClickHouseError."""
        self.run(_statement("SELECT 1"))

    def interrupt(self, *, inserts: bool) -> None:
        """Cancel running statements, inserts only with `inserts`; each ends with error 394 (QUERY_WAS_CANCELLED)."""
        which = "1" if inserts else "query_kind != 'Insert'"
        self.run(_statement(f"KILL QUERY WHERE {which} ASYNC"))

    def _connect(self) -> "Connection":
        import chdb

        address = f"{self._directory}?config-file={self._config / 'config.xml'}"
        connection: Connection = chdb.connect(address)  # type: ignore[no-untyped-call]
        return connection

    def _refuse_second(self) -> None:
        """Raise OperatorError if another process holds the folder, by the engine's own lock: flock on `status`.

        The engine itself reports a held folder on stderr only.
        """
        try:
            with (self._directory / "status").open("rb") as status:
                fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return
        except BlockingIOError:
            raise OperatorError(
                f"{self._directory} is in use by another process: end it, or choose another STORMWEIR_DATA_DIR"
            ) from None

    def _write_config(self) -> None:
        self._config.mkdir(exist_ok=True)
        constraints = "".join(
            f"<{name}><min>{low}</min><max>{high}</max></{name}>" for name, (_, low, high) in _PROFILE.items()
        )
        profile = _xml({name: value for name, (value, _, _) in _PROFILE.items()})
        files = {
            "config.xml": _xml(_SERVER)
            + f"<merge_tree>{_xml(_MERGE_TREE)}</merge_tree>"
            + f"<users_config>{escape(str(self._config / 'users.xml'))}</users_config>",
            "users.xml": f"<profiles><default>{profile}<constraints>{constraints}</constraints></default></profiles>"
            "<quotas><default/></quotas><users><default><password/><networks><ip>::/0</ip></networks>"
            "<profile>default</profile><quota>default</quota>"
            f"<grants><query>GRANT {_GRANTS}</query></grants></default></users>",
        }
        for name, content in files.items():
            (self._config / name).write_text(f"<clickhouse>{content}</clickhouse>\n")


def _insert(connection: "Connection", statement: Statement, data: bytes) -> Result:
    """Insert from a file in memory, which reports every error.

    chdb's own streaming insert reports success even if the table rejects the block for too many parts, no memory, or
    a violated constraint (measured with chdb 4.4.0).
    """
    file = os.memfd_create("insert")
    try:
        with open(file, "wb", closefd=False) as written:
            written.write(data)
        source = f"FROM INFILE '/proc/self/fd/{file}' COMPRESSION 'none'"
        sql = f"{statement.sql} {source}{statement.data_settings} FORMAT {statement.data_format}"
        return _query(connection, replace(statement, sql=sql, output_format="Null"))
    finally:
        os.close(file)


def _query(connection: "Connection", statement: Statement) -> Result:
    done: Any = connection.query(statement.sql, statement.output_format, params=dict(statement.params))
    return Result(
        done.bytes() or b"",
        read_rows=done.storage_rows_read(),
        read_bytes=done.storage_bytes_read(),
        written_rows=done.rows_written(),
        written_bytes=done.bytes_written(),
        elapsed_s=done.elapsed(),
    )


def _statement(sql: str) -> Statement:
    return Statement(
        sql=sql, data=None, data_format="", data_settings="", output_format="Null", database="", settings={}, params={}
    )


def _chdb_error() -> type[Exception]:
    import chdb

    error: type[Exception] = chdb.ChdbError
    return error


def _quote(text: str, mark: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(mark, f"\\{mark}")
    return f"{mark}{escaped}{mark}"


def _xml(values: dict[str, int]) -> str:
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
