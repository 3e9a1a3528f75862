"""Alertmanager's grouping, computed exactly in the time of the data.

Alertmanager's clock is real time, so a storm of two hours would take two hours. Its rules for groups are documented
(https://prometheus.io/docs/alerting/latest/configuration/#route) and small. What is here follows dispatch/dispatch.go
and notify/notify.go (DedupStage.needsUpdate) of version 0.25, and `alertmanager_program` demands that the program sends
the same. Alerts are posted without `startsAt`, so none is older than `group_wait` when it comes, and no group flushes
early.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.labelled.generator import MINUTE_MS, SECOND_MS, Event
from benchmarks.labelled.grader import Page, Result

#: Empty groups are removed on this tick of the dispatcher (a constant of its source).
_CLEANUP_MS = 30 * SECOND_MS


class Route(NamedTuple):
    """The settings of the only route, with Alertmanager's defaults; times are milliseconds."""

    group_by: tuple[str, ...]
    group_wait: int = 30 * SECOND_MS
    group_interval: int = 5 * MINUTE_MS
    repeat_interval: int = 240 * MINUTE_MS
    resolve_timeout: int = 5 * MINUTE_MS


class Notice(NamedTuple):
    """One notification: of a group (its label values) in one of its lives, and the keys that fire and are resolved."""

    at: int
    group: tuple[str, ...]
    life: int
    firing: frozenset[str]
    resolved: frozenset[str]


@dataclass(eq=False)
class _Group:
    """`alerts` has for each key when it ends; `flush_at` is the next flush."""

    labels: tuple[str, ...]
    life: int
    flush_at: int
    alerts: dict[str, int] = field(default_factory=dict)


def labels(event: Event) -> dict[str, str]:
    """The labels of the alert; their values together are as unique as its key."""
    payload = event.body["payload"]
    return {
        "alertname": payload["class"],
        "cluster": payload["group"],
        "instance": payload["source"],
        "service": event.service,
        "severity": payload["severity"],
    }


def run(events: Sequence[Event], route: Route) -> Result:
    """The incidents (the lives of groups) and pages. A notification is a page when it has an alert that the one before
    did not have firing; it goes to the team of the first of those.
    """
    owners = {event.body["dedup_key"]: event.body["payload"]["custom_details"]["owner"] for event in events}
    dispatcher = _Dispatcher(route)
    groups: dict[str, str] = {}
    for event in events:
        group = dispatcher.put(event)
        if event.body["event_action"] == "trigger":
            groups.setdefault(event.body["dedup_key"], _name(group.labels, group.life))
    dispatcher.advance(events[-1].at + route.group_interval)
    order = {key: number for number, key in enumerate(groups)}
    pages: list[Page] = []
    told: dict[tuple[str, ...], frozenset[str]] = {}
    for notice in dispatcher.notices:
        if new := notice.firing - told.get(notice.group, frozenset()):
            first = min(new, key=order.__getitem__)
            pages.append(Page(notice.at, _name(notice.group, notice.life), owners[first], first))
        told[notice.group] = notice.firing
    return Result(groups, pages)


def notices(events: Iterable[Event], route: Route, until: int) -> list[Notice]:
    """Every notification up to this time, in order."""
    dispatcher = _Dispatcher(route)
    for event in events:
        dispatcher.put(event)
    dispatcher.advance(until)
    return dispatcher.notices


class _Dispatcher:
    """Groups, their timers, and the log of what was last told of each group."""

    def __init__(self, route: Route) -> None:
        self.notices: list[Notice] = []
        self._route = route
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._lives: dict[tuple[str, ...], int] = {}
        self._told: dict[tuple[str, ...], Notice] = {}
        self._timers: list[tuple[int, int, _Group]] = []
        self._armed = 0
        self._empty: set[_Group] = set()
        self._cleanup_at = 0

    def put(self, event: Event) -> _Group:
        """Take in an event at its time, after all flushes before it. The group of its alert."""
        self.advance(event.at)
        found = labels(event)
        place = tuple(found[name] for name in self._route.group_by)
        group = self._groups.get(place)
        if group is None:
            life = self._lives[place] = self._lives.get(place, 0) + 1
            group = self._groups[place] = _Group(place, life, 0)
            self._arm(group, event.at + self._route.group_wait)
        resolves = event.body["event_action"] == "resolve"
        group.alerts[event.body["dedup_key"]] = event.at + (0 if resolves else self._route.resolve_timeout)
        self._empty.discard(group)
        return group

    def advance(self, now: int) -> None:
        """Run the flushes that are due by now."""
        while self._timers and self._timers[0][0] <= now:
            at, _, group = heapq.heappop(self._timers)
            self._clean(at)
            if self._groups.get(group.labels) is group:
                self._flush(group, at)
        self._clean(now)

    def _arm(self, group: _Group, at: int) -> None:
        self._armed += 1
        heapq.heappush(self._timers, (at, self._armed, group))

    def _flush(self, group: _Group, now: int) -> None:
        self._arm(group, now + self._route.group_interval)
        firing = frozenset(key for key, ends in group.alerts.items() if ends > now)
        resolved = frozenset(group.alerts) - firing
        if self._needs(self._told.get(group.labels), firing, resolved, now):
            notice = self._told[group.labels] = Notice(now, group.labels, group.life, firing, resolved)
            self.notices.append(notice)
        for key in resolved:
            del group.alerts[key]
        if not group.alerts:
            self._empty.add(group)

    def _needs(self, told: Notice | None, firing: frozenset[str], resolved: frozenset[str], now: int) -> bool:
        """DedupStage.needsUpdate, for a receiver that is told of resolves."""
        if told is None:
            return bool(firing)
        if not firing <= told.firing:
            return True
        if not firing:
            return bool(told.firing)
        return not resolved <= told.resolved or told.at < now - self._route.repeat_interval

    def _clean(self, now: int) -> None:
        """Remove the groups that are empty, at every tick of the dispatcher."""
        tick = now - now % _CLEANUP_MS
        if tick > self._cleanup_at:
            self._cleanup_at = tick
            for group in self._empty:
                del self._groups[group.labels]
            self._empty.clear()


def _name(group: tuple[str, ...], life: int) -> str:
    return f"{'/'.join(group)}#{life}"
