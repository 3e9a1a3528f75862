"""The condition language: ClickHouse finds the alerts that the stream's Python functions match."""

import asyncio
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.topics import ALERTS_HISTORY
from schemas.wire.alert import Action, Alert, Severity
from sinks.clickhouse.batches import form
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.tables import TABLES
from streams.history.matches import count_matches
from streams.policy.language import NO_CALENDARS, SETTINGS, Span, Sql, compile_node, parse
from streams.policy.language.tree import Compares, Matches, Node, OneOf
from tests.clickhouse.conftest import TOKEN, Server
from tests.clickhouse.samples import NOW, alert_row, history
from tests.policy.conditions import ALERTS, HOUR_MS, NUMBERS, PATTERNS, START, TEXTS, Half, conditions

Found = Callable[[Node], set[int]]
SPAN = Span("default", START, START + HOUR_MS)


@pytest.fixture(scope="module")
def found(server: Server) -> Iterator[Found]:
    """`found(condition)`: the numbers of ALERTS that ClickHouse finds."""
    database = f"test_{uuid.uuid4().hex}"
    with asyncio.Runner() as runner:
        runner.run(migrate(server.url, TOKEN, database))
        client = ClickHouse(server.url, TOKEN, database)
        rows = [(number, _row(number, alert)) for number, alert in enumerate(ALERTS)]
        runner.run(client.insert(form(TABLES[ALERTS_HISTORY.name], "", [history(0, rows)], {})))

        def find(node: Node) -> set[int]:
            sql = Sql(Half(), SPAN)
            wanted = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
            query = (
                f"SELECT groupArray(kafka_offset) AS found FROM alerts WHERE {sql.condition(node)} SETTINGS {wanted}"
            )
            return set(runner.run(client.query(query, sql.params))[0]["found"])

        yield find
        runner.run(client.command(f"DROP DATABASE {database}"))
        runner.run(client.close())


def _row(number: int, alert: Alert) -> object:
    """The row of history, with another severity after rules: conditions see the one before."""
    return alert_row(
        number, service=alert.service, severity=Severity.INFO, severity_raw=alert.severity, action=alert.action,
        summary=alert.summary, source=alert.source, alert_group=alert.group, alert_class=alert.class_,
        labels=alert.labels, received_at=alert.received_at,
    )  # fmt: skip


def matched(node: Node) -> set[int]:
    holds = compile_node(node, Half())
    return {number for number, alert in enumerate(ALERTS) if holds(alert)}


async def test_matches_of_many_rules_are_counted(clickhouse: ClickHouse) -> None:
    """Triggers of the tenant and the time, for more rules than one query counts."""
    trigger = {"received_at": NOW - 1000, "service": "web"}
    rows = [
        alert_row(0, **trigger),
        alert_row(1, **trigger, labels={"n": "7"}),
        alert_row(2, **trigger, labels={"n": "8"}),
        alert_row(3, **trigger, tenant="acme", labels={"n": "7"}),
        alert_row(4, **trigger, action=Action.RESOLVE, labels={"n": "7"}),
        alert_row(5, service="web", received_at=NOW, labels={"n": "7"}),
        alert_row(6, service="web", received_at=NOW - 2001, labels={"n": "7"}),
    ]
    await clickhouse.insert(form(TABLES[ALERTS_HISTORY.name], "", [history(0, list(enumerate(rows)))], {}))
    lines = [f'n="{number}"' for number in range(60)]
    conditions = [parse([]), parse(["service=web and n > 1"]), *(parse([line]) for line in lines)]
    counts = await count_matches(clickhouse, Span("default", NOW - 2000, NOW), conditions, NO_CALENDARS)
    assert counts == [3, 2, *(int(number in {7, 8}) for number in range(60))]


async def test_the_largest_rule_can_be_counted(clickhouse: ClickHouse) -> None:
    """A rule as long as one may be: its values are not in the URL."""
    line = "source in (" + ", ".join(f"host-{number:06}" for number in range(700)) + ")"
    node = parse([line] * 20)
    assert await count_matches(clickhouse, Span("default", NOW - 2000, NOW), [node] * 3, NO_CALENDARS) == [0] * 3


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(condition=conditions)
def test_clickhouse_and_the_stream_agree(found: Found, condition: Node) -> None:
    """Any condition, over texts that are hard to quote and numbers that are hard to read."""
    assert found(condition) == matched(condition)


@pytest.mark.parametrize(
    "condition",
    [
        *(OneOf("labels.env", (text,)) for text in TEXTS),
        *(Matches("summary", pattern) for pattern in PATTERNS),
        *(Compares("cpu", operator, number) for operator in (">", ">=", "<", "<=") for number in NUMBERS),
    ],
    ids=repr,
)
def test_each_value_alone(found: Found, condition: Node) -> None:
    """Each text, pattern and number that the random conditions are made of."""
    assert found(condition) == matched(condition)
