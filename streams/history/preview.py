"""What conditions would hide: of the incidents that are open, and of those of the last days."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.wire.incident import Status
from streams.history.incidents import incident_of
from streams.history.times import milliseconds
from streams.policy.language import compile_incident

_DAY_MS = 86_400_000


class Rate(NamedTuple):
    """How many incidents that match opened in a day, over so many days."""

    a_day: float
    days: float


class Preview(NamedTuple):
    """The rows of open incidents that match, and how many that match opened in a day."""

    open: list[Mapping[str, Any]]
    rate: Rate


def sentence(count: int, rate: Rate | None) -> str:
    """What people are told: so many open incidents match; the rate is None if history does not answer."""
    if count:
        told = f"hides {'this open incident' if count == 1 else f'these {count:,} open incidents'}"
    else:
        told = "hides no open incident"
    if rate is None:
        return f"{told}; how many a day is not known, as history does not answer"
    each = f"{rate.a_day:,.0f}" if rate.a_day >= 10 else f"{rate.a_day:.1f}"
    return f"{told} and about {each} a day (of the last {rate.days:.0f} days)"


def preview(rows: Iterable[Mapping[str, Any]], lines: Sequence[str], since: int, now: int, limit: int) -> Preview:
    """What the lines match of the rows of `queries.INCIDENTS_SINCE`. Raises ValueError for lines that do not compile.

    If there are `limit` rows, there may be more, so the days are counted back to the oldest of them.
    """
    matches, everything = compile_incident(lines), list(rows)
    past = [(milliseconds(row["opened_at"]), row) for row in everything]
    if len(everything) >= limit:
        resolved = [at for at, row in past if row["status"] == "resolved"]
        since = max(since, min(resolved or [at for at, _ in past]))
    opened = [row for at, row in past if at >= since]
    days = max(now - since, 1) / _DAY_MS
    # Incidents are counted as they were when they would have been told: open.
    count = sum(matches(incident_of(row, Status.OPEN)) for row in opened)
    found = [row for row in everything if row["status"] != "resolved" and matches(incident_of(row))]
    return Preview(found, Rate(count / days, days))
