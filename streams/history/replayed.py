"""Reads what is recorded, replays it under today's configuration and a new one, and says what that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sinks.clickhouse.client import ClickHouse
from sinks.contract import SKIP_HELP
from streams.control.state import Control
from streams.history import queries
from streams.rehearsal.recorded import Deed, deed, first, recorded
from streams.rehearsal.replay import Replay
from streams.rehearsal.report import Report, acts_by_key, comparison, equality, sealed, summary

#: Deliveries are recorded after what they tell of; those of messages to a dead receiver much later.
_AFTER_MS = 86_400_000


Told = Callable[[float], None]
#: After so many alerts the progress is told.
_TOLD_EVERY = 20_000


class Window(NamedTuple):
    """Which alerts: those of a tenant from `start` on are replayed, and counted from `since` on. `late` is a duration.
    All are milliseconds.
    """

    tenant: str
    start: int
    since: int
    until: int
    late: int


async def replayed(
    clickhouse: ClickHouse,
    window: Window,
    today: Control,
    new: Control | None,
    *,
    anyway: bool = False,
    told: Told = lambda part: None,
) -> Report:
    """The report. The new configuration is not run if today's differs from the record, unless `anyway`.

    `told` hears from time to time which part (0 to 1) is done. Raises ClickHouseError.
    """
    scope = {"tenant": window.tenant, "since": window.start, "until": window.until}
    deeds = [deed(row) for row in await clickhouse.query(queries.HUMAN_EVENTS, scope)]
    rows = await clickhouse.query(queries.FIRST_DELIVERIES, {**scope, "until": window.until + _AFTER_MS})
    firsts = [first(row, frozenset(SKIP_HELP)) for row in rows]
    fallbacks = {each.fallback for each in today.destinations.values() if each.fallback}
    runs = 1 if new is None else 2
    old = await _run(clickhouse, window, today, deeds, lambda part: told(part / runs))
    acted = acts_by_key(old.run, deeds, window.since)
    report: Report = {
        "tenant": window.tenant,
        "from": _shown(window.since),
        "to": _shown(window.until),
        "warm_up_from": _shown(window.start),
        "record": equality(old, firsts, fallbacks, window.until),
        "today": summary(old, today, acted),
    }
    if new is not None and (anyway or report["record"]["equal"]):
        changed = await _run(clickhouse, window, new, deeds, lambda part: told((1 + part) / runs))
        report["new"] = summary(changed, new, acted)
        report["change"] = comparison(old.run, changed.run, acted, deeds, window.late)
    return sealed(report)


async def _run(clickhouse: ClickHouse, window: Window, control: Control, deeds: Sequence[Deed], told: Told) -> Replay:
    replay, number = Replay(control, window.since, deeds), 0
    scope = {"tenant": window.tenant, "since": window.start, "until": window.until}
    async for row in clickhouse.stream(queries.ALERTS_IN_ORDER, scope):
        alert = recorded(row)
        replay.take(alert)
        number += 1
        if number % _TOLD_EVERY == 0:
            told((alert.alert.received_at - window.start) / (window.until - window.start))
    replay.finish(window.until)
    told(1.0)
    return replay


def _shown(at_ms: int) -> str:
    """A time in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def text(report: Report) -> Iterator[str]:
    """The report for people."""
    record, today, new = report["record"], report["today"], report.get("new")
    yield f"{report['from']} to {report['to']}, tenant {report['tenant']}; warm-up from {report['warm_up_from']}"
    if today["carried_over"]:
        yield f"{today['carried_over']:,} alerts go on with what began before the warm-up: left out"
    if today["undecided"]:
        yield f"{today['undecided']:,} alerts at the end wait for what comes later: not compared"
    if record["equal"]:
        yield f"today's configuration decides all {record['alerts']:,} alerts and first messages as recorded"
    else:
        yield (
            f"today's configuration does not decide as recorded: {record['different_alerts']:,} of "
            f"{record['alerts']:,} alerts, {record['different_messages']:,} first messages"
        )
        yield from (f"  {line}" for line in record["differences"])
    yield ""
    yield from _figures(today, new)
    if new is not None:
        yield from _changes(report["change"])
    elif not record["equal"]:
        yield ""
        yield "the new configuration was not tried, because the past is not understood; --anyway tries it"
    yield ""
    yield f"hash {report['hash']}"


def _figures(today: Report, new: Report | None) -> Iterator[str]:
    columns = [today] if new is None else [today, new]
    yield _line("", ["today", "new"][: len(columns)])
    for name in ("incidents", "incidents_told", "pages", "messages", "noise_ratio"):
        yield _line(name.replace("_", " "), [each[name] for each in columns])
    for name in ("p50", "p95"):
        yield _line(f"first page, s, {name}", [each["seconds_to_first_page"][name] for each in columns])
    for title, name in (("alerts ", "alerts"), ("pages to ", "by_destination"), ("kept by ", "kept_from_people")):
        for key in _names(columns, name):
            yield _line(f"{title}{key}", [each[name].get(key, 0) for each in columns])
    for person in _names(columns, "by_person"):
        for part, title in (("pages", "pages of"), ("at_night", "at night, pages of")):
            yield _line(f"{title} {person}", [each["by_person"].get(person, {}).get(part, 0) for each in columns])
    for rule in _names(columns, "rules"):
        for part, title in (("alerts", "matched by"), ("suppressed", "suppressed by")):
            yield _line(f"{title} rule {rule}", [each["rules"].get(rule, {}).get(part, 0) for each in columns])


def _changes(change: Report) -> Iterator[str]:
    yield ""
    keys = change["keys"]
    yield f"keys told: {keys['both']:,} both, {keys['only_old']:,} only today, {keys['only_new']:,} only new"
    late = change["late_after_seconds"]
    yield f"acted on by a person then: {change['missed']:,} missed, {change['late']:,} told more than {late:,} s later"
    for cause, count in change["hidden_by"].items():
        yield f"hidden by {cause}: {count:,} keys"
    for each in change["worst"]:
        yield ""
        yield f"{each['incident_id']}  {each['severity']}  {each['service']}  {each['title']}"
        yield from (f"  {line}" for line in each["trail"])


def _names(columns: Iterable[Report], name: str) -> list[str]:
    return sorted({key for each in columns for key in each[name]})


def _line(name: str, values: Sequence[Any]) -> str:
    shown = ("-" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in values)
    return f"{name:<40}" + "".join(f"{value:>12}" for value in shown).rstrip()
