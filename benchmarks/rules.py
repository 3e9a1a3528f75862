"""`python -m benchmarks.rules [--quick]`: what rules cost an alert, with 1 to 10,000 rules. About a minute.

The rules are of three kinds. `spread`: each demands a service, a host, a cluster or the beginning of a source, and up
to three more conditions of all sorts; there are as many of each as rules, so an alert meets about one rule. `crowded`:
the same for 200 services, so with more rules an alert meets more of them. `mixed`: as `spread`, but one rule in a
hundred demands nothing that an index could use (a number, `!=`, a part of the summary) and is tried for every alert.
`tried` and `matched` are rules an alert. Costs are CPU time an alert: `opening_us` that of a new alert in the stage
dedup, with everything that it does; `rules_us` that of the rules alone; `naive_us` that of trying every condition in
order, without deciding anything. A set of few rules says little of others, so the figures of 1 rule are means over 30
sets, of 10 rules over 3.
"""

import gc
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple, TypeVar

from benchmarks.command import Command
from benchmarks.process import median
from benchmarks.report import Goal, Page, Progress, Run
from schemas.control import AnyRecord, Rule, Service, Tenant
from schemas.topics import ALERTS_NORMALIZED
from schemas.wire.alert import Action, Alert, Severity
from schemas.wire.codec import encode
from streams.policy.language import compile_alert, parse
from streams.policy.rule_index import RuleIndex, demands
from streams.policy.rules import RuleSet
from streams.stages.dedup import Dedup

R = TypeVar("R", bound=AnyRecord)
COUNTS = (1, 10, 100, 1_000, 10_000)
KINDS = ("spread", "crowded", "mixed")
#: As many for each set, so that they are in the processor's caches as much or as little.
ALERTS = 1_000
CROWD = 200
#: The naive evaluation of 10,000 rules takes milliseconds an alert.
NAIVE_TRIES = 200_000

GOALS = (
    Goal("opening_1000_vs_1", "a new alert in dedup: 1,000 spread rules / 1 rule", 2, at_least=False),
    Goal("rules_1000_vs_1", "the rules alone: 1,000 spread rules / 1 rule", 2, at_least=False),
    Goal("rules_1000_vs_naive", "the rules alone, 1,000 spread rules: naive / index", 10),
)
PAGE = Page("Rules", "python -m benchmarks.rules", "rules", "RULES.md", GOALS)


def main() -> int:
    """Measure, and write the page."""
    command = Command("python -m benchmarks.rules", __doc__, ("rules",))
    rounds = 1 if command.quick else 5
    runs = [run for kind in KINDS for run in measure(kind, rounds, command.progress)]
    return command.conclude(runs, summary(runs), [], PAGE)


def measure(kind: str, rounds: int, progress: Progress) -> list[Run]:
    """One run for each number of rules and round."""
    chance = random.Random(9)
    contests = {count: [_Contest(chance, kind, count) for _ in range(max(1, 30 // count))] for count in COUNTS}
    # As a worker does, see streams.engine.app.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
    runs: list[Run] = []
    # The first round warms up. Numbers of rules take turns, so that a slow moment does not hit one of them only.
    for number in range(-1, rounds):
        for count, each in contests.items():
            figures = [contest.measure() for contest in each]
            means = {name: round(sum(one[name] for one in figures) / len(figures), 3) for name in figures[0]}
            if number >= 0:
                runs.append({"part": "rules", "kind": kind, "rules": f"{count:,}", "round": number, **means})
                shown = ", ".join(f"{name} {means[name]}" for name in means if name.endswith("_us"))
                progress(f"{kind} {count:,}: {shown}")
    return runs


class _Contest:
    """One set of rules, as index and as list of conditions, and the alerts for it."""

    def __init__(self, chance: random.Random, kind: str, count: int) -> None:
        places = CROWD if kind == "crowded" else count
        rules = [rule(chance, number, kind, places) for number in range(count)]
        self._decide = RuleSet(rules).decide
        self._conditions = [compile_alert(rule.conditions) for rule in rules]
        self._alerts = [_alert(chance, places, number) for number in range(ALERTS)]
        self._naive_alerts = self._alerts[: max(20, NAIVE_TRIES // count)]
        find = RuleIndex([demands(parse(rule.conditions)) for rule in rules]).find
        self._dedup = Dedup(_Configuration(rules))
        self._records = [_Record(number, encode(alert)) for number, alert in enumerate(self._alerts)]
        self._tried = sum(len(find(alert)) for alert in self._alerts) / len(self._alerts)
        self._matched = sum(len(self._decide(alert).rules) for alert in self._alerts) / len(self._alerts)

    def measure(self) -> dict[str, float]:
        return {
            "opening_us": self._opening_us(),
            "rules_us": _microseconds(self._decide, self._alerts),
            "naive_us": _microseconds(self._naive, self._naive_alerts),
            "tried": self._tried,
            "matched": self._matched,
        }

    def _opening_us(self) -> float:
        state = _State()
        started = time.thread_time()
        outputs = sum(1 for _ in self._dedup(state, self._records, 1))
        seconds = time.thread_time() - started
        assert outputs == len(self._records), "an alert did not open"
        return round(seconds / outputs * 1e6, 3)

    def _naive(self, alert: Alert) -> None:
        for holds in self._conditions:
            holds(alert)


class _Configuration:
    """Rules, and services with their defaults."""

    version = 1
    tenants: Mapping[str, Tenant] = {}
    services: Mapping[tuple[str, str], Service] = {}

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = {(rule.tenant, rule.id): rule for rule in rules}
        self._service = Service(id="service")

    def service(self, tenant: str, service_id: str, /) -> Service:
        return self._service

    def every(self, model: type[R], /) -> Mapping[tuple[str, str], R]:
        return {}


class _State:
    """A table in memory, without deadlines."""

    def __init__(self) -> None:
        self.marks: MutableMapping[str, int] = {}
        self._values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        self._values[key] = value

    def delete(self, key: bytes) -> None:
        self._values.pop(key, None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._values.items())


class _Record(NamedTuple):
    """A record of alerts.normalized."""

    offset: int
    value: bytes
    topic: str = ALERTS_NORMALIZED.name
    partition: int = 0
    timestamp: int = 1
    key: bytes = b""
    headers: Sequence[tuple[str, bytes]] = ()


def summary(runs: list[Run]) -> dict[str, float]:
    """The ratios of the medians."""

    def cost(figure: str, rules: str) -> float:
        return median([run[figure] for run in runs if run["kind"] == "spread" and run["rules"] == rules])

    return {
        "opening_1000_vs_1": cost("opening_us", "1,000") / cost("opening_us", "1"),
        "rules_1000_vs_1": cost("rules_us", "1,000") / cost("rules_us", "1"),
        "rules_1000_vs_naive": cost("naive_us", "1,000") / cost("rules_us", "1,000"),
    }


def _microseconds(call: Callable[[Alert], object], alerts: Sequence[Alert]) -> float:
    started = time.thread_time()
    for alert in alerts:
        call(alert)
    return round((time.thread_time() - started) / len(alerts) * 1e6, 3)


def _alert(chance: random.Random, places: int, number: int) -> Alert:
    service = chance.randrange(places)
    return Alert(
        tenant="default", service=f"service-{service}", integration="5f0c2a...", provider=chance.choice(_PROVIDERS),
        event_id=bytes(16), dedup_key="k", fingerprint=number.to_bytes(16, "big"), action=Action.TRIGGER,
        origin_offset=number, received_at=1, severity=chance.choice(list(Severity)),
        summary=f"disk {chance.randrange(20)} of the host is filling up",
        source=f"rack{chance.randrange(places)}-host{chance.randrange(10)}",
        labels={
            "env": chance.choice(_ENVIRONMENTS), "host": f"host-{chance.randrange(places)}",
            "team": f"team-{service % 200}", "cluster": f"cluster-{chance.randrange(places)}",
            "cpu": str(chance.randrange(100)), "region": chance.choice(("eu", "us", "ap")),
        },
    )  # fmt: skip


_PROVIDERS = ("prometheus", "datadog", "zabbix", "kafka")
_ENVIRONMENTS = ("prod", "prod", "staging", "test")


def rule(chance: random.Random, number: int, kind: str, places: int) -> Rule:
    place = number % places
    more = [
        'severity in ("error", "critical")', 'severity!="info"', 'labels.env!="test"', 'labels.region=~"eu|us"',
        "labels.cpu > 50", 'summary=~"disk .*"', 'summary=~".*(filling|full).*"', "not (env=staging or env=test)",
    ]  # fmt: skip
    demand = chance.choice(
        [
            f'service="service-{place}"',
            f'service="service-{place}"',
            f'service in ("service-{place}", "service-{(place + 1) % places}")',
            f'labels.host="host-{chance.randrange(places)}"',
            f'labels.cluster=~"cluster-{place}|cluster-{(place + 7) % places}"',
            f'source=~"rack{place}-.*"',
        ]
    )
    lines = [demand, *chance.sample(more, chance.randrange(4))]
    if kind == "mixed" and number % 100 == 50:
        lines = chance.sample(['labels.env!="test"', "labels.cpu > 95", 'summary=~".*exploded.*"'], 2)
    return Rule(id=f"rule-{number}", order=chance.randrange(100), match=tuple(lines), route=(f"dest-{place % 50}",))


if __name__ == "__main__":
    sys.exit(main())
