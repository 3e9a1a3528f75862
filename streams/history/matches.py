"""How many alerts of history a condition holds for."""

from collections.abc import Iterator, Sequence

from sinks.clickhouse.client import ClickHouse
from streams.policy.language import SETTINGS, Calendars, Node, Span, Sql

#: Conditions that one query counts: each query reads the alerts of the whole time once.
_CONDITIONS = 50


async def count_matches(
    clickhouse: ClickHouse, span: Span, conditions: Sequence[Node], calendars: Calendars
) -> list[int]:
    """The number of triggers that each condition holds for, in the span's time and tenant. Raises ClickHouseError."""
    counts: list[int] = []
    for part in _parts(conditions):
        sql = Sql(calendars, span)
        columns = [f"countIf({sql.condition(node)}) AS c{place}" for place, node in enumerate(part)]
        # What stands in a condition are our own expressions; every value of it is a parameter.
        query = f"""
SELECT {", ".join(columns)} FROM alerts
WHERE tenant = {{tenant:String}} AND action = 'trigger'
    AND received_at >= fromUnixTimestamp64Milli({{start:Int64}})
    AND received_at < fromUnixTimestamp64Milli({{end:Int64}})
SETTINGS {", ".join(f"{name} = {value}" for name, value in SETTINGS.items())}
"""  # noqa: S608
        (row,) = await clickhouse.query(query, {**sql.params, **span._asdict()})
        counts += [row[f"c{place}"] for place in range(len(part))]
    return counts


def _parts(conditions: Sequence[Node]) -> Iterator[Sequence[Node]]:
    for start in range(0, len(conditions), _CONDITIONS):
        yield conditions[start : start + _CONDITIONS]
