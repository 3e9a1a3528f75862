"""The migrations make tables that take every row exactly as its struct says."""

import uuid
from dataclasses import replace
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from msgspec.msgpack import Ext

from schemas.fingerprint import uuid_text
from schemas.wire.alert import Action, Severity
from schemas.wire.incident import Status
from schemas.wire.rows import (
    AlertOutcome,
    AlertRow,
    AuditRow,
    ChangeRow,
    DeadLetterRow,
    DeliveryRow,
    IncidentEventRow,
    IncidentRow,
    RejectionRow,
    Row,
    pack_row,
    uuid_column,
)
from sinks.clickhouse.batches import Batch
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrate import MigrationError, migrate, migrations
from sinks.clickhouse.tables import TABLES, Table
from tests.clickhouse.conftest import TOKEN, Server
from tests.clickhouse.samples import NOW, alert_row

STRUCTS: dict[str, type[Row]] = {
    "alerts": AlertRow,
    "incidents": IncidentRow,
    "incident_events": IncidentEventRow,
    "deliveries": DeliveryRow,
    "change_events": ChangeRow,
    "rejections": RejectionRow,
    "dead_letters": DeadLetterRow,
    "audit": AuditRow,
}
ENUMS = {Severity, Action, AlertOutcome, Status}
BY_NAME = {table.name: table for table in TABLES.values()}
TEXTS = ["", "plain", "häß日本🚨", "nul\0, tab\t, quote' \\ \r\n", "x" * 70_000]


def batch_of(table: Table, rows: list[Row], first: int = 0) -> Batch:
    return Batch(
        table=table,
        partition=0,
        first_offset=first,
        last_offset=first + len(rows) - 1,
        topic_id="",
        rows=[pack_row(row) for row in rows],
        records=(),
        places=(),
        marks={},
        errors=(),
    )


def value_of(kind: Any, index: int) -> Any:
    """A value that is hard on its way: odd texts, the bounds of integers, random ids."""
    text = TEXTS[index % len(TEXTS)]
    if kind is str:
        return text
    if kind is bytes:
        return [b"", b"\0\xff\xfe", bytes(range(256)), text.encode(), b"{}"][index % 5]
    if kind is Ext:
        return uuid_column(uuid.uuid5(uuid.NAMESPACE_DNS, f"{index}").bytes)
    if kind is int:
        return [0, 1, 127, 255, 65_535][index % 5]
    if kind in ENUMS:
        return list(kind)[index % len(kind)]
    assert kind == dict[str, str], kind
    return [{}, {"a": ""}, {"ä": text, "": "x"}, {f"k{n}": f"{n}" for n in range(40)}, {"x": "y"}][index % 5]


#: The values of the newest columns have this length then: one byte each.
NO_TIMES = {"sent_ms": 0, "began_ms": 0, "ended_ms": 0}


def expression(name: str, kind: Any) -> str:
    """How the test reads a column, so that nothing is lost on the way back."""
    if name == "at" or name.endswith("_at"):
        return f"toUnixTimestamp64Milli({name})"
    if kind in ENUMS:
        return f"CAST({name} AS Int8)"
    return {Ext: f"toString({name})", bytes: f"hex({name})"}.get(kind, name)


def plain(value: Any) -> Any:
    """What `expression` gives for a value of a struct."""
    if isinstance(value, Ext):
        return uuid_text(value.data)
    if isinstance(value, bytes):
        return value.hex().upper()
    return int(value) if isinstance(value, IntEnum) else value


@pytest.mark.parametrize("name", STRUCTS)
async def test_columns_are_the_structs_fields(clickhouse: ClickHouse, name: str) -> None:
    """Tables and structs name the same columns in the same order, and every topic's table is the one declared."""
    rows = await clickhouse.query(
        "SELECT name FROM system.columns WHERE database = {d:String} AND table = {t:String} ORDER BY position",
        {"d": clickhouse._database, "t": name},
    )
    assert tuple(row["name"] for row in rows) == STRUCTS[name].__struct_fields__ == BY_NAME[name].columns


async def test_enums_are_the_schemas(clickhouse: ClickHouse) -> None:
    """Enum columns hold exactly the names and numbers of schemas."""
    rows = await clickhouse.query(
        "SELECT table, name, type FROM system.columns WHERE database = {d:String} AND type LIKE 'Enum8%'",
        {"d": clickhouse._database},
    )
    found = {(row["table"], row["name"]): row["type"] for row in rows}
    expected = {
        (table, field.name): field.type
        for table, struct in STRUCTS.items()
        for field in msgspec.structs.fields(struct)
        if field.type in ENUMS
    }
    for place, kind in expected.items():
        pairs = ", ".join(f"'{member.name.lower()}' = {member.value}" for member in kind)
        assert found.pop(place) == f"Enum8({pairs})"
    assert not found


async def test_every_table_has_a_deduplication_window(clickhouse: ClickHouse) -> None:
    """Without it a repeated insert would write twice."""
    rows = await clickhouse.query(
        "SELECT name, create_table_query AS sql FROM system.tables WHERE database = {d:String}",
        {"d": clickhouse._database},
    )
    assert {row["name"] for row in rows} == {*STRUCTS, "schema_migrations"}
    for row in rows:
        assert "non_replicated_deduplication_window = 10000" in row["sql"], row["name"]


@pytest.mark.parametrize("name", STRUCTS)
async def test_rows_come_back_as_they_went_in(clickhouse: ClickHouse, name: str) -> None:
    """Every struct through MessagePack: UTF-8, NUL, empty and large maps, bytes, integers, ids that print right."""
    struct = STRUCTS[name]
    fields = msgspec.structs.fields(struct)
    rows: list[Any] = []
    for number in range(5):
        values = {field.name: value_of(field.type, number + place) for place, field in enumerate(fields)}
        for column in ("received_at", "queued_at", "opened_at", "at"):  # partition and TTL
            if column in values:
                values[column] = NOW + number
        if name != "alerts":
            values["kafka_offset"] = number
        if "version" in values:
            values["version"] = 2**63 + number
        rows.append(struct(**values))
    await clickhouse.insert(batch_of(BY_NAME[name], rows))
    columns = ", ".join(f"{expression(field.name, field.type)} AS {field.name}" for field in fields)
    found = await clickhouse.query(f"SELECT {columns} FROM {name}")
    expected = [{field.name: plain(getattr(row, field.name)) for field in fields} for row in rows]

    def order(row: dict[str, Any]) -> list[str]:
        return [str(row[field.name]) for field in fields]

    assert sorted(found, key=order) == sorted(expected, key=order)


async def test_odd_times_do_not_stop_the_writer(clickhouse: ClickHouse) -> None:
    """A batch over hundreds of days, the year 1970 and the far future is taken: it must never wait for ever."""
    times = [0, 1, 2**41, 2**53, 2**62, -1, *(NOW - day * 86_400_000 for day in range(300))]
    rows: list[Row] = [alert_row(n, received_at=at, starts_at=at) for n, at in enumerate(times)]
    await clickhouse.insert(batch_of(BY_NAME["alerts"], rows))


async def test_migrations_are_idempotent(server: Server) -> None:
    """The first run applies all, the second none; each is recorded once with its checksum."""
    database = f"test_{uuid.uuid4().hex}"
    assert await migrate(server.url, TOKEN, database) == migrations()
    assert await migrate(server.url, TOKEN, database) == []
    async with ClickHouse(server.url, TOKEN, database) as client:
        rows = await client.query("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
        await client.command(f"DROP DATABASE {database}")
    assert [row["version"] for row in rows] == list(range(1, len(migrations()) + 1))
    assert [row["checksum"] for row in rows] == [migration.checksum.encode() for migration in migrations()]


async def test_only_what_is_missing_is_applied(server: Server) -> None:
    """A database of an older version gets the later migrations."""
    database = f"test_{uuid.uuid4().hex}"
    assert await migrate(server.url, TOKEN, database, migrations()[:2]) == migrations()[:2]
    assert await migrate(server.url, TOKEN, database) == migrations()[2:]


async def test_each_migration_may_be_applied_again(server: Server) -> None:
    """A process that died between a statement and its record applies it once more: nothing is different then."""
    database = f"test_{uuid.uuid4().hex}"
    await migrate(server.url, TOKEN, database)
    shape = "SELECT name, create_table_query AS sql FROM system.tables WHERE database = {d:String} ORDER BY name"
    async with ClickHouse(server.url, TOKEN, database) as client:
        before = await client.query(shape, {"d": database})
        for migration in migrations():
            await client.command(migration.sql)
        assert await client.query(shape, {"d": database}) == before
        await client.command(f"DROP DATABASE {database}")


async def test_details_go_after_14_days_and_rows_after_90(server: Server) -> None:
    """Of rows that an older version of the schema took as well: what is younger than that keeps its details."""
    database = f"test_{uuid.uuid4().hex}"
    ages = (1, 13, 15, 89, 91)

    def rows(index: int, table: Table) -> Batch:
        days = [NOW - age * 86_400_000 for age in ages]
        found = [
            alert_row(age, index, received_at=at, details=b"{}", **NO_TIMES) for age, at in zip(ages, days, strict=True)
        ]
        return batch_of(table, list(found), first=index * len(ages))

    released = replace(BY_NAME["alerts"], columns=AlertRow.__struct_fields__[:27])
    old = rows(0, released)
    await migrate(server.url, TOKEN, database, migrations()[:8])
    async with ClickHouse(server.url, TOKEN, database) as client:
        await client.insert(replace(old, rows=[row[:-4] for row in old.rows]))
        await client.command("OPTIMIZE TABLE alerts FINAL")
        await migrate(server.url, TOKEN, database)
        await client.insert(rows(1, BY_NAME["alerts"]))
        await client.command("OPTIMIZE TABLE alerts FINAL")
        kept = await client.query(
            "SELECT toUInt8(kafka_offset) AS age, kafka_index AS part, details = '{}' AS detailed FROM alerts"
            " ORDER BY age, part"
        )
        (settings,) = await client.query(
            "SELECT engine_full AS sql FROM system.tables WHERE database = {d:String} AND name = 'alerts'",
            {"d": database},
        )
        await client.command(f"DROP DATABASE {database}")
    assert [(row["age"], row["part"], row["detailed"]) for row in kept] == [
        (age, part, age < 14) for age in ages if age < 90 for part in (0, 1)
    ]
    # Older versions of ClickHouse than the one of this test clear no column while this is 1.
    assert "ttl_only_drop_parts = 0" in settings["sql"]


async def test_rows_of_before_have_the_severity_after_rules_as_the_one_before(server: Server) -> None:
    """What a sender had said was not kept then: the column is not empty and its numbers are those of `severity`."""
    database = f"test_{uuid.uuid4().hex}"
    await migrate(server.url, TOKEN, database, migrations()[:8])
    released = replace(BY_NAME["alerts"], columns=AlertRow.__struct_fields__[:27])
    old = batch_of(released, [alert_row(0, severity=Severity.WARNING, **NO_TIMES)])
    async with ClickHouse(server.url, TOKEN, database) as client:
        await client.insert(replace(old, rows=[row[:-4] for row in old.rows]))
        await migrate(server.url, TOKEN, database)
        await client.insert(batch_of(BY_NAME["alerts"], [alert_row(1, severity=Severity.INFO)], first=1))
        found = await client.query(
            "SELECT toString(severity) AS ruled, toString(severity_raw) AS raw FROM alerts ORDER BY kafka_offset"
        )
        await client.command(f"DROP DATABASE {database}")
    assert [tuple(row.values()) for row in found] == [("warning", "warning"), ("info", "critical")]


async def test_a_changed_migration_is_refused(server: Server) -> None:
    """A file that was applied and then changed stops the run and is named; nothing is applied."""
    database = f"test_{uuid.uuid4().hex}"
    await migrate(server.url, TOKEN, database, migrations()[:2])
    changed = [
        replace(migration, sql=migration.sql + "-- more") if migration.version == 2 else migration
        for migration in migrations()
    ]
    with pytest.raises(MigrationError, match=r"0002_alerts\.sql was changed"):
        await migrate(server.url, TOKEN, database, changed)
    async with ClickHouse(server.url, TOKEN, database) as client:
        assert await client.query("SELECT max(version) AS v FROM schema_migrations") == [{"v": 2}]


async def test_a_database_name_is_a_plain_name(server: Server) -> None:
    """Nothing but a plain name reaches the SQL."""
    with pytest.raises(ValueError, match="clickhouse_database"):
        await migrate(server.url, TOKEN, "x`; DROP DATABASE y; --")
