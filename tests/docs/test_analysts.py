"""docs/analysts.md: its tables are ClickHouse's, its questions have answers."""

import re

import pytest

from schemas.settings import PORTS
from schemas.wire.rows import AlertOutcome
from sinks.clickhouse.tables import TABLES
from streams.history import queries
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table

PAGE = read("docs/analysts.md")
QUERIES = {name: sql for name, sql in vars(queries).items() if name.isupper()}

SEND = """
from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": "127.0.0.1:8401", "enable.idempotence": True})
for _ in range(3):
    alert = '{"service": "s", "dedup_key": "analysts/1", "summary": "s"}'
    producer.produce("alerts.events", key="analysts/1", value=alert)
assert producer.flush(30) == 0
"""

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("name", [each.name for each in TABLES.values()])
def test_the_columns_are_those_of_the_table(reader: Reader, name: str) -> None:
    """Each table of the page lists the columns of ClickHouse in order, with their types."""
    listed = [(codes(row[0])[0], row[1]) for row in table(section(PAGE, name))]
    real = reader.sql(
        f"SELECT name, type FROM system.columns WHERE database = 'stormweir' AND table = '{name}'"
        " ORDER BY position FORMAT TSVRaw"
    )
    assert listed == [tuple(line.split("\t")) for line in real.splitlines()]


def test_every_table_is_described(reader: Reader) -> None:
    """The page leaves out no table but the one of migrations."""
    names = reader.sql("SELECT name FROM system.tables WHERE database = 'stormweir'").split()
    assert {name for name in names if not name.startswith("schema_")} == {each.name for each in TABLES.values()}


@pytest.mark.parametrize("number", range(len(blocks(PAGE, "sql"))))
def test_the_questions_of_the_page_are_answered(reader: Reader, number: int) -> None:
    """Every SQL block runs."""
    reader.sql(blocks(PAGE, "sql")[number])


def test_the_command_of_the_page_works(reader: Reader) -> None:
    """The curl command counts alerts."""
    reader.python(SEND)
    # The repeats may be stored before the alert that opened: other stages write them.
    reader.wait_for("SELECT count() FROM alerts WHERE dedup_key = 'analysts/1'", "3")
    [command] = blocks(PAGE, "bash")
    assert "opened" in reader.bash(command)


def test_the_outcomes_are_all_there() -> None:
    """One row for each end of an alert, in the order of the enum."""
    text = section(PAGE, "What to know before counting")
    assert [codes(row[0])[0] for row in table(text)] == [outcome.name.lower() for outcome in AlertOutcome]


def test_the_named_queries_are_listed() -> None:
    """Names and parameters of the table are those of the module."""
    listed = {codes(row[0])[0]: set(row[1].split(", ")) for row in table(section(PAGE, "Questions"))}
    assert listed == {name: set(re.findall(r"\{(\w+):", sql)) for name, sql in QUERIES.items()}


def test_the_ttls_are_those_of_the_tables(reader: Reader) -> None:
    """How long rows stay is what ClickHouse was told."""
    sentence = PAGE.partition("Rows go away: ")[2].partition("\n\n")[0]
    kept: list[str] = []
    for name in ("alerts", "incident_events", "deliveries", "dead_letters", "change_events", "rejections", "audit"):
        created = reader.sql(f"SELECT create_table_query FROM system.tables WHERE name = '{name}' FORMAT TSVRaw")
        # the table's own comes last, after those of its columns
        kept += reversed(re.findall(r"toIntervalDay\((\d+)\)", created))
    assert re.findall(r"\b\d+\b", sentence) == kept


def test_folded_repeats_are_found_by_their_fingerprint(reader: Reader) -> None:
    """The query for all alerts of an incident gives the opening and the repeats that have no incident id."""
    [query] = [sql for sql in blocks(PAGE, "sql") if "fingerprint IN" in sql]
    reader.python(SEND.replace("analysts/1", "analysts/2"))
    reader.wait_for("SELECT count() FROM alerts WHERE dedup_key = 'analysts/2'", "3")
    reader.wait_for("SELECT count() FROM incidents FINAL WHERE dedup_key = 'analysts/2'", "1")
    rows = reader.sql(query.replace("db-1/disk", "analysts/2"))
    assert [row.split("\t")[1] for row in rows.splitlines()] == ["opened", "deduplicated", "deduplicated"]
    folded = "SELECT countIf(incident_id = toUUID('00000000-0000-0000-0000-000000000000')) FROM alerts"
    assert reader.sql(f"{folded} WHERE dedup_key = 'analysts/2'") == "2\n"
    [conservation] = [sql for sql in blocks(PAGE, "sql") if "AS offsets" in sql]
    places = [row.split("\t") for row in reader.sql(conservation).splitlines()]
    assert places
    assert all(place[2] == place[3] for place in places)


def test_a_refused_request_is_a_row_soon(reader: Reader) -> None:
    """C121: what the gateway refused is found by the page's query, with its reason and the beginning of the key."""
    gateway = f"http://127.0.0.1:{8400 + PORTS['gateway']}"
    for _ in range(3):
        told = reader.bash(f"curl -sS {gateway}/api/integrations/zabbix?integrationId={'0' * 32} -d '{{}}'")
        assert "unauthorized" in told
    reader.wait_for("SELECT sum(count) FROM rejections WHERE provider = 'zabbix'", "3")
    [query] = [sql for sql in blocks(PAGE, "sql") if "FROM rejections" in sql]
    [row] = [line.split("\t") for line in reader.sql(query).splitlines() if "zabbix" in line]
    assert row[:6] == ["", "unauthorized", "401", "/api/integrations/zabbix", "", "3"]
