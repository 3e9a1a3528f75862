"""`alertmanager.yml` as `stormweir.yaml`: routes, receivers, inhibition and time intervals. Pure.

The routes take what they took, so an alert reaches the same receivers (amtool is the judge of the tests). Nothing is
lost in silence: what has no counterpart is in the report, and a receiver without one stays named in its routes, so that
`stormweir apply` refuses them until somebody decides.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from schemas.control import describe
from schemas.control.route import DAY_S, EACH
from streams.control import document
from streams.control.alertmanager.intervals import week_of
from streams.control.alertmanager.matchers import lines
from streams.control.alertmanager.model import File, InhibitRule, Route
from streams.control.alertmanager.receivers import destinations
from streams.control.alertmanager.report import Report

ROOT = "alertmanager"
_MAX_NAME = 100


class Imported(NamedTuple):
    """The text of `stormweir.yaml`, a report for people, and the ids of the destinations of each receiver."""

    text: str
    report: list[str]
    receivers: Mapping[str, tuple[str, ...]]


def convert(text: str) -> Imported:
    """The configuration that does what an `alertmanager.yml` did. Raises ConfigurationError without its values."""
    try:
        file = File.model_validate(document.parse(text))
    except ValidationError as error:
        raise document.ConfigurationError(describe(error).split("; ")) from None
    report = Report()
    names = _Names()
    made, receivers = _receivers(file, names, report)
    calendars, intervals = _calendars(file, names, report)
    tree = _Tree(receivers, intervals, report)
    sections = {
        "destinations": made,
        "calendars": calendars,
        "routes": [{"id": ROOT, "group_by": [], **tree.branch(file.route, "route")}],
        "inhibitions": [each for rule in enumerate(file.inhibit_rules) for each in _inhibition(*rule, names, report)],
    }
    dumped = yaml.safe_dump(
        {name: entries for name, entries in sections.items() if entries},
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
    return Imported(report.marked(dumped), report.lines(), receivers)


class _Names:
    """Ids as records take them, each once for its kind."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()

    def of(self, kind: str, text: str) -> str:
        """An id that is like the text."""
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[: _MAX_NAME - 4] or kind
        number, name = 1, base
        while (kind, name) in self._taken:
            number += 1
            name = f"{base}-{number}"
        self._taken.add((kind, name))
        return name


def _receivers(file: File, names: _Names, report: Report) -> tuple[list[dict[str, Any]], dict[str, tuple[str, ...]]]:
    made: list[dict[str, Any]] = []
    by_name: dict[str, tuple[str, ...]] = {}
    for receiver in file.receivers:
        found = list(destinations(receiver, file.global_, report))
        ids: list[str] = []
        for slug, settings in found:
            name = names.of("destination", receiver.name if len(found) == 1 else f"{receiver.name}-{slug}")
            ids.append(name)
            if settings is None:
                report.lost(
                    f"receivers.{receiver.name}.{slug}_configs",
                    f"there is no such channel: make a destination {name}, or take it out of the routes",
                )
            else:
                made.append({"id": name, "type": slug, **settings})
        by_name[receiver.name] = tuple(ids)
    return made, by_name


def _calendars(file: File, names: _Names, report: Report) -> tuple[list[dict[str, Any]], dict[str, str]]:
    made: list[dict[str, Any]] = []
    by_name: dict[str, str] = {}
    for named in (*file.mute_time_intervals, *file.time_intervals):
        try:
            zone, week = week_of(named)
        except ValueError as error:
            report.lost(f"time_intervals.{named.name}", f"{error}: what it muted is told")
            continue
        by_name[named.name] = names.of("calendar", named.name)
        made.append({"id": by_name[named.name], "zone": zone, "hours": week})
    return made, by_name


class _Tree:
    """Makes routes. `receivers` are ids of destinations, `intervals` those of calendars, by Alertmanager's names."""

    def __init__(self, receivers: Mapping[str, tuple[str, ...]], intervals: Mapping[str, str], report: Report) -> None:
        self._receivers = receivers
        self._intervals = intervals
        self._report = report

    def branch(self, route: Route, path: str) -> dict[str, Any]:
        """The route and all below it."""
        made: dict[str, Any] = {}
        if found := _conditions(path, route.match, route.match_re, route.matchers):
            made["match"] = found
        if route.receiver is not None:
            if route.receiver not in self._receivers:
                raise document.ConfigurationError([f"{path}.receiver: no receiver {route.receiver!r}"])
            made["destinations"] = list(self._receivers[route.receiver])
        elif path == "route":
            raise document.ConfigurationError([f"{path}.receiver: is needed"])
        if route.group_by:
            made["group_by"] = [name if name == EACH else f"labels.{name}" for name in route.group_by]
        for name, least, most in (
            ("group_wait", 0, DAY_S),
            ("group_interval", 1, DAY_S),
            ("repeat_interval", 1, 366 * DAY_S),
        ):
            duration: timedelta | None = getattr(route, name)
            if duration is not None:
                made[name] = self._seconds(f"{path}.{name}", duration, least, most)
        if route.continue_:
            made["continue"] = True
        made |= self._times(route)
        if route.routes:
            made["routes"] = [self.branch(each, f"{path}.routes.{index}") for index, each in enumerate(route.routes)]
        return made

    def _seconds(self, path: str, duration: timedelta, least: int, most: int) -> int:
        seconds = -(-duration // timedelta(seconds=1))
        kept = min(max(seconds, least), most)
        if kept != duration.total_seconds():
            self._report.differs(path, f"is {kept} s")
        return kept

    def _times(self, route: Route) -> Iterator[tuple[str, list[str]]]:
        # What is not carried over mutes nothing: a mute interval is left out, and with one of them all active ones.
        mute = [self._intervals[name] for name in route.mute_time_intervals if name in self._intervals]
        active = [self._intervals.get(name) for name in route.active_time_intervals]
        if mute:
            yield "mute_calendars", mute
        if active and None not in active:
            yield "active_calendars", [name for name in active if name is not None]


def _inhibition(index: int, rule: InhibitRule, names: _Names, report: Report) -> Iterator[dict[str, Any]]:
    path = f"inhibit_rules.{index}"
    source = _conditions(path, rule.source_match, rule.source_match_re, rule.source_matchers)
    target = _conditions(path, rule.target_match, rule.target_match_re, rule.target_matchers)
    if not (source and target):
        report.lost(path, "has no matchers for its source, or for its target, and would hide everything")
        return
    made = {"id": names.of("inhibition", rule.name or f"{ROOT}-{index + 1}"), "source": source, "target": target}
    yield {**made, "equal": [f"labels.{name}" for name in rule.equal]} if rule.equal else made


def _conditions(
    path: str, match: Mapping[str, str], match_re: Mapping[str, str], matchers: list[str] | str
) -> list[str]:
    try:
        return lines(match, match_re, matchers)
    except ValueError as error:
        raise document.ConfigurationError([f"{path}: a matcher {error}"]) from None
