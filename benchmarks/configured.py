"""`python -m benchmarks.configured [--quick]`: what a large configuration costs the path and its stages. Ten minutes.

`path`: rates of the whole path (benchmarks.configured_path). For the others nothing but the stages runs: the same
requests go through normalize, dedup, correlate and dispatch in memory, once with one rule that routes them (`plain`),
once with 1,000 rules, 200 silences and 500 services that escalate and have targets (`apart`), and once more with
services that depend on each other (`configured`): all of these fail within a second, so nearly every incident is the
effect of another one. `distinct`: every alert is a new one. `storm`: 1,000 keys fire 20 times each.

Costs are CPU time an alert, in microseconds, by stage; `told` is how many messages people got. Broker, tables on disk
and sending are not in them.
"""

import gc
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import configured_path
from benchmarks.command import Command
from benchmarks.process import ContenderError, median
from benchmarks.report import Goal, Page, Progress, Run
from benchmarks.rules import rule
from schemas import topics
from schemas.control import dump
from schemas.fingerprint import digest
from schemas.records import Output
from schemas.wire.alert import RawEvent
from schemas.wire.codec import encode
from streams.control.state import Control
from streams.rehearsal.line import Passed, Stage, step
from streams.rehearsal.memory import Memory
from streams.stages.correlate import Correlate
from streams.stages.dedup import Dedup
from streams.stages.dispatch import Dispatch
from streams.stages.normalize import Normalize

RULES, SILENCES, SERVICES = 1_000, 200, 500
ALERTS, KEYS, BATCH = 20_000, 1_000, 500
START = 1_790_000_000_000
STAGES = ("normalize", "dedup", "correlate", "dispatch")
LOADS = ("distinct", "storm")

_LARGE = "1,000 rules, 200 silences, 500 services"
GOALS = (
    *(Goal(f"path_{load}_apart_vs_plain", f"whole path, {load}: {_LARGE} / without, rate", 0.9) for load in LOADS),
    *(
        Goal(f"{load}_{name}_vs_plain", f"stages alone, {load}: {_LARGE} {words} / without, rate", 0.9)
        for load in LOADS
        for name, words in (("apart", "apart"), ("configured", "in chains"))
    ),
)
PAGE = Page("A large configuration", "python -m benchmarks.configured", "configured", "CONFIGURED.md", GOALS)


def main() -> int:
    """Measure, and write the page."""
    command = Command("python -m benchmarks.configured", __doc__, (*LOADS, "path"))
    rounds = 1 if command.quick else 5
    runs: list[Run] = []
    failed: list[str] = []
    if "path" in command.wanted:
        scratch = Path(tempfile.mkdtemp(prefix="stormweir-configured-"))
        try:
            runs += configured_path.measure(configured(chains=False), requests, scratch, rounds, command.progress)
        except (ContenderError, AssertionError, TimeoutError, OSError) as error:
            command.progress(f"path failed: {error!r}")
            failed.append("path")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    figures = configured_path.summary(runs)
    stages = measure([load for load in LOADS if load in command.wanted], rounds, command.progress)
    return command.conclude(runs + stages, figures | summary(stages), failed, PAGE)


def measure(wanted: Sequence[str], rounds: int, progress: Progress) -> list[Run]:
    """One run for each load, configuration and round; the first round warms up."""
    configurations = {"plain": _control([_ALL]), "apart": configured(chains=False), "configured": configured()}
    loads = {load: [value for _, value in requests(load, ALERTS, "", START)] for load in wanted}
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
    runs: list[Run] = []
    for number in range(-1, rounds):
        for load, values in loads.items():
            for name, control in configurations.items():
                costs, told = _through(control, values)
                figures = {f"{stage}_us": round(costs[stage] / len(values) * 1e6, 2) for stage in STAGES}
                total = round(sum(costs.values()) / len(values) * 1e6, 2)
                if number >= 0:
                    run: Run = {"part": load, "configuration": name, "round": number, **figures, "total_us": total}
                    runs.append({**run, "told": told})
                    progress(f"{load} {name}: {total} us, {figures}, {told} told")
    return runs


def summary(runs: list[Run]) -> dict[str, float]:
    """The ratios of the medians."""

    def cost(load: str, name: str) -> float:
        return median([run["total_us"] for run in runs if (run["part"], run["configuration"]) == (load, name)])

    return {
        f"{load}_{name}_vs_plain": cost(load, "plain") / cost(load, name)
        for load in dict.fromkeys(run["part"] for run in runs)
        for name in ("apart", "configured")
    }


def _through(control: Control, requests: Sequence[bytes]) -> tuple[dict[str, float], int]:
    """CPU seconds of each stage for these requests, and how many messages people got."""
    normalize = Normalize(control)
    stages: dict[str, tuple[str, Stage, Memory]] = {
        "dedup": (topics.ALERTS_NORMALIZED.name, Dedup(control), Memory()),
        "correlate": (topics.ALERTS_UNIQUE.name, Correlate(control, 7 * topics.DAY_MS), Memory()),
        "dispatch": (topics.INCIDENTS_CHANGES.name, Dispatch(control), Memory()),
    }
    offsets = dict.fromkeys([topics.ALERTS_RAW.name, *(topic for topic, _, _ in stages.values())], 0)
    costs, told = dict.fromkeys(STAGES, 0.0), 0

    def records(topic: str, outputs: Iterable[Output], now: int) -> list[Passed]:
        made = []
        for output in outputs:
            if output.topic == topic:
                made.append(Passed(topic, 0, offsets[topic], now, output.key, output.value, output.headers))
                offsets[topic] += 1
        return made

    # The first request is not counted: with it the stages compile the configuration.
    for begin in (-1, *range(0, len(requests), BATCH)):
        if not begin:
            costs = dict.fromkeys(STAGES, 0.0)
        now = START + max(begin, 0)  # a thousand requests a second
        part = requests[begin : begin + BATCH] if begin >= 0 else requests[-1:]
        raw = [Output(topics.ALERTS_RAW.name, None, value) for value in part]
        batch = records(topics.ALERTS_RAW.name, raw, now)
        started = time.thread_time()
        outputs = list(normalize.requests(None, batch, now))
        costs["normalize"] += time.thread_time() - started
        for name, (topic, stage, state) in stages.items():
            batch = records(topic, outputs, now)
            started = time.thread_time()
            outputs = list(step(stage, state, batch, now))
            costs[name] += time.thread_time() - started
        told += sum(output.topic == topics.NOTIFICATIONS.name for output in outputs)
    return costs, told


def requests(load: str, alerts: int, name: str, at: int) -> list[tuple[str, bytes]]:
    """Alerts of Prometheus, one a request, of 500 services, each with its key; another name gives other keys."""
    keys = range(alerts) if load == "distinct" else [number % KEYS for number in range(alerts)]
    return [(f"{name}{key}", _request(f"{name}{number}", name, key, at)) for number, key in enumerate(keys)]


def _request(number: str, name: str, key: int, at: int) -> bytes:
    service = key % SERVICES
    labels = {
        "alertname": f"Disk{name}{key}", "severity": ("critical", "warning", "warning")[key % 3],
        "env": ("prod", "staging")[key % 2], "host": f"host-{key % 2_000}", "cluster": f"cluster-{key % RULES}",
        "region": ("eu", "us", "ap")[key % 3], "team": f"team-{service % 50}",
    }  # fmt: skip
    body = {"status": "firing", "alerts": [{"status": "firing", "labels": labels, "annotations": {"summary": "full"}}]}
    event_id = digest("request", number)
    sent = msgspec.json.encode(body)
    return encode(RawEvent("default", f"service-{service}", "0" * 32, "prometheus", event_id, at, sent, {}))


def _control(records: Iterable[tuple[str, dict[str, Any]]]) -> Control:
    control = Control()
    for key, value in records:
        refused = control.apply(key, msgspec.json.encode(value))
        assert refused is None, refused
    return control


#: What tells of everything, in both configurations.
_ALL = ("rule/default/zz-all", {"id": "zz-all", "order": 1_000, "route": ["ops"]})


def configured(*, chains: bool = True) -> Control:
    """The large configuration; in `chains` each service depends on the one before it."""
    return _control([_ALL, *_rules(), *_services(chains=chains), *_silences()])


def _rules() -> Iterator[tuple[str, dict[str, Any]]]:
    chance = random.Random(9)
    for number in range(RULES):
        made = rule(chance, number, "spread", RULES)
        yield f"rule/default/{made.id}", msgspec.json.decode(dump(made))


def _silences() -> Iterator[tuple[str, dict[str, Any]]]:
    """Of every tenth service or host; half of them are on."""
    for number in range(SILENCES):
        begins = START / 1000 + (0 if number % 2 else 86_400) - 3_600
        times = {"starts_at": _at(begins), "ends_at": _at(begins + 36_000)}
        match = f'service="service-{number * 7}"' if number % 3 else f'labels.host="host-{number * 11}"'
        fields = {"match": [match, 'severity!="critical"'], "author": "ada", "reason": "a benchmark"}
        yield f"silence/default/s{number}", {"id": f"s{number}", **times, **fields}


def _services(*, chains: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Twenty times 25 services; every fifth pages people, every second one has a target."""
    yield "user/default/ada", {"id": "ada", "destinations": [{"destination": "ada-phone"}]}
    yield "escalation/default/crew", {"id": "crew", "steps": [{"users": ["ada"], "delay": 300}]}
    for number in range(SERVICES):
        record: dict[str, Any] = {"id": f"service-{number}"}
        if number % 5 == 0:
            record["escalation"] = "crew"
        if number % 2 == 0:
            record["sla"] = [{"severities": ["critical"], "acknowledge_within": 900}]
        if chains and number % 25:
            record["depends_on"] = [f"service-{number - 1}"]
        yield f"service/default/service-{number}", record


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


if __name__ == "__main__":
    sys.exit(main())
