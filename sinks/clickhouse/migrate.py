"""The schema: numbered SQL files, one statement each, applied in order, recorded with their checksums."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from sinks.clickhouse.client import ClickHouse


class MigrationError(RuntimeError):
    """An applied migration differs from its file; the message names the file."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `<version>_<name>.sql`. A released file never changes; a change gets a file with a new number."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The migrations of this version of Stormweir, in order."""
    found = [
        Migration(int(named[1]), named[2], file.read_text("utf-8"))
        for file in files("sinks.clickhouse").joinpath("migrations").iterdir()
        if (named := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


async def migrate(url: str, token: str, database: str, known: Sequence[Migration] | None = None) -> list[Migration]:
    """Create the database, apply the missing migrations and return them. Any number of processes may do so at once.

    `known` is for tests. Raises MigrationError for an applied file that has changed since, ValueError for an
    invalid name of a database, ClickHouseError when the server cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", database):
        raise ValueError(f"clickhouse_database {database!a} is not a plain name")
    async with ClickHouse(url, token, "default") as server:
        await server.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
    first, *rest = known or migrations()
    async with ClickHouse(url, token, database) as server:
        await server.command(first.sql)
        rows = await server.query("SELECT version, toString(checksum) AS checksum FROM schema_migrations FINAL")
        applied = {row["version"]: row["checksum"] for row in rows}
        for migration in (first, *rest):
            if applied.get(migration.version, migration.checksum) != migration.checksum:
                raise MigrationError(
                    f"{migration.version:04}_{migration.name}.sql was changed after database {database!r} applied "
                    "it: restore the file and put the change into a new one"
                )
        pending = [migration for migration in (first, *rest) if migration.version not in applied]
        for migration in pending:
            await server.command(migration.sql)
            await server.command(
                "INSERT INTO schema_migrations (version, name, checksum) "
                "SELECT {version:UInt32}, {name:String}, {checksum:String}",
                {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
            )
    return pending
