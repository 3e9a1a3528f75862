"""The labelled storm: events as senders would send them, and apart from them the cause of every alert.

Everything follows from the seed. A storm has two to five roots: services that fail by themselves, at about the same
time. No root depends on another, for then nobody could tell whether it failed by itself; what depends on them may
overlap. A failure passes along an edge with the edge's own probability after a log-normal delay; a service belongs to
the failure that reaches it first. Beside that there is noise, each alert with a cause of its own, and maintenance.
Times are milliseconds since 1970 UTC; every storm begins at START_MS.
"""

import hashlib
import heapq
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from benchmarks.labelled.topology import Family, Topology, build, switch

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
#: 1 January 2026.
START_MS = 1_767_225_600_000
#: Shares of what is sent: resolves that never arrive, events that arrive late, events that arrive twice.
LOST_RESOLVES, LATE, DOUBLED = 0.10, 0.05, 0.02
#: The range of the probabilities with which a failure passes along an edge.
PASSES = (0.6, 0.95)
#: A failure passes along an edge after a log-normal delay of this median; one in a hundred reaches the tail, the most.
DELAY_MEDIAN_MS, DELAY_TAIL_MS = 20 * SECOND_MS, 10 * MINUTE_MS
_DELAY_SIGMA = math.log(DELAY_TAIL_MS / DELAY_MEDIAN_MS) / 2.326
#: The 5 % late events: so late on average, and at most ten minutes.
_LATE_MEAN_MS, _LATE_MOST_MS = 2 * MINUTE_MS, 10 * MINUTE_MS
#: An open alert is sent again after so long.
REPEAT_MS = 2 * MINUTE_MS
#: The share of alerts that flap: every 30 s a Markov chain, P(ends) and P(begins again).
FLAPPING, _STEP_MS, _ENDS, _BEGINS = 0.08, 30 * SECOND_MS, 0.2, 0.35
#: New noise alerts in a minute, on the average of a day, and by which share it varies over the day.
_NOISE_PER_MINUTE, _NOISE_SWING = 2.0, 0.6
#: Roots begin within ten minutes; before and after there is noise only.
_QUIET_MS, _SPREAD_MS, STORM_MS = 30 * MINUTE_MS, 10 * MINUTE_MS, 110 * MINUTE_MS
CHECKS = ("unavailable", "errors_high", "latency_high", "saturation")
SWITCH_KEYS = 200_000


class Event(NamedTuple):
    """What arrives `at`: a body of PagerDuty's Events API v2, by the integration of `service`."""

    at: int
    service: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Cause:
    """A service that failed. `began` is when the first of all its alerts arrives, `at` the first of the service itself.
    Only a `root` is to be paged for.
    """

    kind: Literal["root", "noise", "maintenance"]
    service: str
    began: int
    at: int
    owner: str


@dataclass(frozen=True)
class Truth:
    """The cause of every key, and the causes by id."""

    keys: dict[str, str]
    causes: dict[str, Cause]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)))


class Maintenance(NamedTuple):
    """A service that is worked on, announced beforehand."""

    service: str
    starts: int
    ends: int


@dataclass(frozen=True)
class Storm:
    """Events in the order of their arrival, the true topology, the announced maintenance, and the truth."""

    events: list[Event]
    topology: Topology
    maintenance: list[Maintenance]
    truth: Truth

    def write(self, path: Path) -> None:
        """Write the events, one JSON document a line, in the order of their arrival."""
        with path.open("w") as file:
            for event in self.events:
                file.write(json.dumps(event._asdict()) + "\n")

    def hand_over(self, path: Path, topology: Topology) -> None:
        """Write the topology (this one, or a copy with errors) and the announced maintenance, as JSON."""
        announced = [window._asdict() for window in self.maintenance]
        path.write_text(json.dumps({"services": topology.handed_over(), "maintenance": announced}))


def chance_of(commit: str, *what: object) -> Random:
    """The source of chance for this commit under test and these words: nobody can tune the product to it beforehand."""
    text = "/".join([commit, *map(str, what)])
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def storm(family: Family, chance: Random, *, instances: int = 24) -> Storm:
    """A storm of about 20,000 events with overlapping roots; a service has up to `instances` instances."""
    making = _Making(build(family, chance), chance, instances)
    roots = making.choose_roots(chance.randint(2, 5))
    for service in chance.sample([s for s in making.topology.depends_on if s not in roots], 2):
        making.maintain(service)
    making.fail(roots)
    making.noise(STORM_MS)
    return making.storm()


def null_storm(chance: Random, *, hours: int = 24) -> Storm:
    """Noise alone: every alert has a cause of its own."""
    making = _Making(build("dag", chance), chance, 7)
    making.noise(hours * HOUR_MS)
    return making.storm()


def switch_storm(chance: Random, *, keys: int = SWITCH_KEYS, services: int = 199) -> Storm:
    """One switch fails: 20 alerts are its own, all others of the services behind it. No key repeats, none resolves."""
    making = _Making(switch(services), chance, 1)
    own = [Alert("switch-1", "switch-1", f"port-{n}-down", "critical") for n in range(20)]
    behind = [name for name in making.topology.depends_on if name != "switch-1"]
    starts = {name: making.delay() for name in behind}
    for number, alert in enumerate(own):
        making.trigger(alert, "root-0", START_MS + number * 100)
    for number in range(keys - len(own)):
        service = behind[number % len(behind)]
        alert = Alert(service, f"{service}-{number // 4}", CHECKS[number % 4], "error")
        making.trigger(alert, "root-0", START_MS + starts[service] + int(chance.expovariate(1 / MINUTE_MS)))
    making.kinds["root-0"] = ("root", "switch-1")
    return making.storm()


@dataclass(frozen=True)
class Alert:
    """One check of one instance of a service; its key is the deduplication key that its sender gives it."""

    service: str
    instance: str
    check: str
    severity: str

    @property
    def key(self) -> str:
        """Unique over all services."""
        return f"{self.service}/{self.instance}/{self.check}"


@dataclass
class _Making:
    """A storm while it is made. Every method adds events, and notes the cause of each key when it is first used."""

    topology: Topology
    chance: Random
    instances: int
    events: list[Event] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, tuple[Literal["root", "noise", "maintenance"], str]] = field(default_factory=dict)
    maintenance: list[Maintenance] = field(default_factory=list)
    _sizes: dict[str, int] = field(default_factory=dict)
    _skews: dict[str, int] = field(default_factory=dict)

    def choose_roots(self, wanted: int) -> list[str]:
        """At most so many services, each with three or more downstream, and none downstream of another."""
        found: list[str] = []
        below = {service: self.topology.downstream(service) for service in self.topology.depends_on}
        candidates = [service for service in self.topology.depends_on if len(below[service]) >= 3]
        self.chance.shuffle(candidates)
        for service in candidates:
            if len(found) < wanted and not any(service in below[root] or root in below[service] for root in found):
                found.append(service)
        return found

    def fail(self, roots: list[str]) -> None:
        """Let the roots fail, and their failures pass on. What is in maintenance neither fails nor passes on."""
        dependents = self.topology.dependents()
        maintained = {window.service for window in self.maintenance}
        edges = [(need, service) for need, services in dependents.items() for service in services]
        passes = {edge: self.chance.uniform(*PASSES) for edge in edges}
        ends: dict[str, int] = {}
        waiting: list[tuple[int, str, str]] = []
        for number, root in enumerate(roots):
            at = START_MS + _QUIET_MS + self.chance.randrange(_SPREAD_MS)
            self.kinds[f"root-{number}"] = ("root", root)
            ends[f"root-{number}"] = at + self.chance.randint(20, 40) * MINUTE_MS
            heapq.heappush(waiting, (at, root, f"root-{number}"))
        failed: set[str] = set()
        while waiting:
            at, service, cause = heapq.heappop(waiting)
            if service in failed or at >= ends[cause]:
                continue
            failed.add(service)
            end = ends[cause] + (0 if service in roots else self.delay())
            self._alert(service, cause, at, end, certain=service in roots)
            for dependent in dependents[service]:
                if dependent not in maintained and self.chance.random() < passes[service, dependent]:
                    heapq.heappush(waiting, (at + self.delay(), dependent, cause))

    def maintain(self, service: str) -> None:
        """Announce maintenance over the time of the storm; the service's checks fail again and again in it."""
        starts = START_MS + self.chance.randrange(_QUIET_MS)
        window = Maintenance(service, starts, starts + HOUR_MS)
        self.maintenance.append(window)
        cause = f"maintenance-{service}"
        self.kinds[cause] = ("maintenance", service)
        for alert in self._alerts(service):
            begins = starts + self.chance.randrange(10 * MINUTE_MS)
            self._live(alert, cause, begins, window.ends, flaps=self.chance.random() < 0.5)

    def noise(self, lasts: int) -> None:
        """Single alerts, more by day than by night (a Poisson process, thinned); the storm begins at any hour."""
        begins = self.chance.uniform(0, 24)
        services = list(self.topology.depends_on)
        at = float(START_MS)
        most = _NOISE_PER_MINUTE * (1 + _NOISE_SWING) / MINUTE_MS
        while (at := at + self.chance.expovariate(most)) < START_MS + lasts:
            hour = begins + (at - START_MS) / HOUR_MS
            rate = (1 + _NOISE_SWING * math.cos((hour - 14) / 24 * math.tau)) / (1 + _NOISE_SWING)
            if self.chance.random() >= rate:
                continue
            alert = self.chance.choice(self._alerts(self.chance.choice(services)))
            cause = f"noise-{alert.key}"
            if self.keys.get(alert.key, cause) != cause:
                continue
            self.kinds[cause] = ("noise", alert.service)
            end = int(at + 20 * SECOND_MS + self.chance.expovariate(1 / (8 * MINUTE_MS)))
            self._live(alert, cause, int(at), end, flaps=self.chance.random() < FLAPPING)

    def delay(self) -> int:
        """The time until a failure, or a recovery, passes along an edge."""
        drawn = self.chance.lognormvariate(math.log(DELAY_MEDIAN_MS), _DELAY_SIGMA)
        return min(int(drawn), DELAY_TAIL_MS)

    def trigger(self, alert: Alert, cause: str, at: int) -> None:
        """Send one trigger of this cause."""
        self.keys.setdefault(alert.key, cause)
        self._send(alert, "trigger", at)

    def storm(self) -> Storm:
        """What was made so far, in the order of arrival."""
        events = sorted(self.events, key=lambda event: event.at)
        began: dict[str, int] = {}
        first: dict[str, int] = {}
        for event in events:
            cause = self.keys[event.body["dedup_key"]]
            began.setdefault(cause, event.at)
            if event.service == self.kinds[cause][1]:
                first.setdefault(cause, event.at)
        causes = {
            cause: Cause(kind, service, began[cause], first[cause], self.topology.owners[service])
            for cause, (kind, service) in self.kinds.items()
        }
        return Storm(events, self.topology, self.maintenance, Truth(self.keys, causes))

    def _alerts(self, service: str) -> list[Alert]:
        """Every alert that the service can have."""
        size = self._sizes.setdefault(service, self.chance.randint(1, self.instances))
        severities = ("critical", "error", "warning", "warning")
        return [
            Alert(service, f"{service}-{number}", check, severity)
            for number in range(size)
            for check, severity in zip(CHECKS, severities, strict=True)
        ]

    def _alert(self, service: str, cause: str, at: int, end: int, *, certain: bool) -> None:
        """Let the alerts of a failed service begin; with `certain` the first of them at once."""
        for number, alert in enumerate(self._alerts(service)):
            if certain and number == 0:
                begins = at
            elif self.chance.random() < 0.7:
                begins = at + int(self.chance.expovariate(1 / (15 * SECOND_MS)))
            else:
                continue
            if begins < end:
                self._live(alert, cause, begins, end, flaps=self.chance.random() < FLAPPING)

    def _live(self, alert: Alert, cause: str, begins: int, end: int, *, flaps: bool) -> None:
        """One life of an alert: triggers while it is open, and a resolve; one that `flaps` has several."""
        if self.keys.setdefault(alert.key, cause) != cause:
            return
        for start, stop in self._spells(begins, end) if flaps else ((begins, end),):
            for at in range(start, stop, REPEAT_MS):
                self._send(alert, "trigger", at)
            self._send(alert, "resolve", stop)

    def _spells(self, begins: int, end: int) -> Iterator[tuple[int, int]]:
        """When a flapping alert is open."""
        start, at = begins, begins
        is_open = True
        while (at := at + _STEP_MS) < end:
            if self.chance.random() < (_ENDS if is_open else _BEGINS):
                if is_open:
                    yield start, at
                start, is_open = at, not is_open
        if is_open:
            yield start, end

    def _send(self, alert: Alert, action: Literal["trigger", "resolve"], at: int) -> None:
        """Send it at this time: it may be lost, late, or arrive twice. The sender's clock may be wrong by minutes."""
        chance = self.chance
        if action == "resolve" and chance.random() < LOST_RESOLVES:
            return
        skew = self._skews.setdefault(alert.instance, int(chance.gauss(0, 60 * SECOND_MS)))
        body: dict[str, Any] = {
            "event_action": action,
            "dedup_key": alert.key,
            "payload": {
                "summary": f"{alert.check} on {alert.instance}",
                "source": alert.instance,
                "severity": alert.severity,
                "timestamp": datetime.fromtimestamp((at + skew) / 1000, UTC).isoformat(timespec="milliseconds"),
                "component": alert.service,
                "group": self.topology.clusters[alert.service],
                "class": alert.check,
                "custom_details": {"owner": self.topology.owners[alert.service]},
            },
        }
        arrives = at
        if chance.random() < LATE:
            arrives += min(int(chance.expovariate(1 / _LATE_MEAN_MS)), _LATE_MOST_MS)
        self.events.append(Event(arrives, alert.service, body))
        if chance.random() < DOUBLED:
            self.events.append(Event(arrives + chance.randrange(5 * SECOND_MS), alert.service, body))
