"""docs/producers.md: its blocks run, and its table is the schema."""

import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import ALERTS_EVENTS, ALERTS_NORMALIZED, DEADLETTERS
from schemas.wire.codec import decode_alert
from schemas.wire.events import BadEvent, decode, encode_json
from streams.stages.configuration import Nothing
from streams.stages.normalize import Normalize
from tests.docs.conftest import Reader
from tests.docs.page import ROOT, blocks, codes, read, section, table

PAGE = read("docs/producers.md")
SCHEMA = json.loads((ROOT / "schemas/avro/alert_event.avsc").read_text())
#: Written by Apache Avro 1.12.0 for Java, `BinaryMessageEncoder`: service web, dedup_key k, summary java.
FROM_JAVA = bytes.fromhex("c3013e4fed37d21eac3e06776562026b0002086a617661000e64656661756c7400000000000000")


@pytest.fixture
def kcat() -> None:
    """The tests of the page need kcat; without it they fail."""
    if shutil.which("kcat") is None:
        pytest.fail("kcat is missing and docs/producers.md uses it: apt-get install -y kcat", pytrace=False)


def _blocks() -> list[tuple[str, str, str]]:
    """Every block that sends, in the page's order: (section, language, code)."""
    return [
        (heading, language, code)
        for heading in ("kcat", "Python, confluent-kafka", "Python, aiokafka", "Wrong records")
        for language in ("bash", "python")
        for code in blocks(section(PAGE, heading), language)
        if "curl" not in code
    ]


@pytest.mark.stack
@pytest.mark.usefixtures("kcat")
async def test_every_example_arrives(reader: Reader) -> None:
    """Each block writes one record under its dedup key; it becomes an alert, or the dead letter it is meant to be."""
    dead, sent = 0, []
    consumer = AIOKafkaConsumer(bootstrap_servers=reader.settings.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(ALERTS_EVENTS.name, number) for number in range(reader.settings.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for heading, language, code in _blocks():
            {"bash": reader.bash, "python": reader.python}[language](code)
            found = await consumer.getmany(timeout_ms=20_000)
            [record] = [record for records in found.values() for record in records]
            [output] = Normalize(Nothing()).events(None, [record], record.timestamp)
            if heading == "Wrong records":
                dead += 1
                assert output.topic == DEADLETTERS.name
            else:
                assert output.topic == ALERTS_NORMALIZED.name
                event = decode(record.value)
                assert event.dedup_key.encode() == record.key
                assert event.dedup_key in code
                assert decode_alert(output.value or b"").summary == event.summary
            sent.append((record.partition, record.offset))
    finally:
        await consumer.stop()
    assert (len(sent), dead) == (7, 1)
    places = ", ".join(map(str, sent))
    for name, count in (("alerts", len(sent) - dead), ("dead_letters", dead)):
        reader.wait_for(
            f"SELECT count() FROM {name} WHERE kafka_topic = 'alerts.events'"
            f" AND (kafka_partition, kafka_offset) IN ({places})",
            str(count),
        )
    resolved = "SELECT count() FROM alerts WHERE dedup_key = 'db-1/disk' AND outcome = 'resolved'"
    reader.wait_for(resolved, "1")


@pytest.mark.stack
@pytest.mark.usefixtures("kcat")
def test_dead_letters_are_found_as_described(reader: Reader) -> None:
    """The SQL of the page and its curl command show a wrong record with its reason."""
    text = section(PAGE, "Wrong records")
    [send, curl], [query] = blocks(text, "bash"), blocks(text, "sql")
    reader.bash(send)
    reader.wait_for("SELECT count() > 0 FROM dead_letters WHERE key = 'db-2/disk'", "1")
    assert "`$.severity`" in reader.sql(query)
    assert "`$.severity`" in reader.bash(curl)


def test_the_table_is_the_schema() -> None:
    """Fields, types and defaults of the table are those of the Avro schema, in its order."""
    rows = [[row[0], row[1], row[2]] for row in table(section(PAGE, "Fields"))]
    assert rows == [[f"`{field['name']}`", _type(field["type"]), _default(field)] for field in SCHEMA["fields"]]


def test_the_limits_are_those_of_the_code() -> None:
    """A value at the table's limit is taken, one character more or fewer is not."""
    least = {"service": "s", "dedup_key": "k", "summary": "s"}
    limits = {codes(row[0])[0]: [int(digits) for digits in re.findall(r"\d+", row[3])] for row in table(PAGE)}
    assert sum(bool(limit) for limit in limits.values()) == 8
    for name, limit in limits.items():
        for size in limit:
            decode(json.dumps({**least, name: "x" * size}).encode())
        if limit:
            outside = [limit[-1] + 1, *([limit[0] - 1] if len(limit) == 2 else [])]
            for size in outside:
                with pytest.raises(BadEvent, match=name):
                    decode(json.dumps({**least, name: "x" * size}).encode())
    with pytest.raises(BadEvent, match="summary"):
        decode(b'{"service": "s", "dedup_key": "k"}')


def test_json_reads_as_the_page_says() -> None:
    """Times are RFC 3339 or milliseconds, details any JSON value, unknown fields errors, 1 MiB the limit."""
    least: dict[str, object] = {"service": "s", "dedup_key": "k", "summary": "s"}
    for extra in ({"starts_at": "2026-11-06T08:42:58Z"}, {"starts_at": 1_793_954_578_000}, {"details": [1, None]}):
        decode(json.dumps({**least, **extra}).encode())
    for bad in ({"severities": "info"}, {"starts_at": "2026-11-06T08:42:58"}, {"details": "x" * 1_048_576}):
        with pytest.raises(BadEvent):
            decode(json.dumps({**least, **bad}).encode())


def test_java_writes_what_we_read() -> None:
    """The header on the page is Apache Avro's own, and ours."""
    assert f"`{FROM_JAVA[:10].hex()}`" in PAGE
    event = decode(FROM_JAVA)
    assert json.loads(encode_json(event)) == {
        **{field["name"]: _plain(field) for field in SCHEMA["fields"] if _plain(field) not in (None, {})},
        "service": "web",
        "dedup_key": "k",
        "summary": "java",
    }


def _plain(field: dict[str, Any]) -> Any:
    return field.get("default")


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    value = field["default"]
    if value is None:
        return "null"
    return f"`{value}`" if value else "empty"


def _type(declared: Any) -> str:
    words: dict[str, Callable[[Any], str]] = {
        "enum": lambda found: ", ".join(f"`{symbol}`" for symbol in found["symbols"]),
        "map": lambda found: f"map of {found['values']}",
        "long": lambda found: str(found["logicalType"]),
    }
    if isinstance(declared, list):
        return f"{_type(declared[1])} or {_type(declared[0])}"
    return declared if isinstance(declared, str) else words[declared["type"]](declared)
