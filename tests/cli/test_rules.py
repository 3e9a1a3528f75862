"""`stormweir lookups` and `stormweir check` on a real Kafka, as people run them."""

import asyncio
import os
from pathlib import Path

import pytest

from schemas.control import Lookup
from schemas.settings import Settings
from schemas.topics import AUDIT, CONTROL
from streams.control.follow import read
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import PARTITIONS, FreePorts
from tests.forks import stormweir

pytestmark = pytest.mark.broker

FILE = """
services:
  - {id: rule-tests}
rules:
  - {id: rule-tests-racks, match: [service=rule-tests], enrich: [racks], group_by: [labels.rack]}
  - {id: rule-tests-never, match: [service=a, service=b], drop: true}
"""


@pytest.fixture(scope="module")
def settings(broker: str, free_ports: FreePorts) -> Settings:
    """Of the broker with the control topic, and of a ClickHouse that is away."""
    asyncio.run(create_topics(Kafka(broker), PARTITIONS, 1, [AUDIT, CONTROL]))
    return Settings(kafka=broker, clickhouse=f"http://127.0.0.1:{free_ports(1)[0]}")


def run(settings: Settings, *arguments: str, status: int = 0) -> str:
    """What a command prints: its output, or, with a status, its errors."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
    done = stormweir(*arguments, environ={**environ, **settings.environ(), "COLUMNS": "200"})
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


def test_a_table_and_the_rules_that_use_it(settings: Settings, tmp_path: Path) -> None:
    """Loaded, loaded again, checked with a file, used, and kept while it is used."""
    table, config = tmp_path / "racks.csv", tmp_path / "stormweir.yaml"
    config.write_text(FILE)
    assert "rules.0.enrich.0: no lookup 'racks'" in run(settings, "check", "-f", str(config), status=2)

    table.write_text("host,rack\ndb-1,r7\nweb-1,r8\n")
    assert run(settings, "lookups", "load", "racks", str(table), "--key", "host") == "racks: 2 rows by host\n"
    assert run(settings, "lookups", "load", "racks", str(table), "--key", "host").startswith("racks: unchanged")
    stored = asyncio.run(read(Kafka(settings.kafka))).every(Lookup)["default", "racks"]
    assert stored.rows == {"db-1": {"rack": "r7"}, "web-1": {"rack": "r8"}}

    checked = run(settings, "check", "-f", str(config)).splitlines()
    assert checked[0] == (
        'rule-tests-racks: If the service is "rule-tests": group it by labels.rack, add labels from racks.'
    )
    assert checked[1].startswith('rule-tests-never: If the service is "a" and the service is "b": drop it')
    assert checked[2].startswith("warning: rules.1.match: the rule can never match")
    assert checked[3].startswith("how often the rules matched is not known: ClickHouse at http://127.0.0.1:")
    assert checked[4] == "3 records are valid"
    assert "rule-tests-racks" not in {place[1] for place in asyncio.run(read(Kafka(settings.kafka))).rules}

    assert "warning: rules.1.match" in run(settings, "apply", "-f", str(config))
    assert "racks  default  host  2     rule-tests-racks" in run(settings, "lookups", "list")
    assert "racks is used by the rules rule-tests-racks" in run(settings, "lookups", "delete", "racks", "-y", status=2)
    config.write_text("rules: []\n")
    run(settings, "apply", "-f", str(config), "--prune")
    assert run(settings, "lookups", "delete", "racks", "-y") == "deleted racks\n"
    assert "no lookup table 'racks'" in run(settings, "lookups", "delete", "racks", "-y", status=2)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.txt", "", "must end in .csv or .json"),
        ("t.csv", "a,b\n1,2\n", "row 1 has no 'host'"),
        ("t.json", None, "read"),
    ],
)
def test_a_wrong_file_is_named(settings: Settings, tmp_path: Path, name: str, content: str | None, told: str) -> None:
    """With its path, before Kafka is asked."""
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    error = run(settings, "lookups", "load", "racks", str(path), "--key", "host", status=2)
    assert str(path) in error
    assert told in error
