"""The labelled storm: repeatable, with the rates that it states, and a truth that fits its events."""

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from benchmarks.labelled import generator, topology
from benchmarks.labelled.generator import Event, Storm, chance_of, null_storm, storm, switch_storm
from benchmarks.labelled.topology import FAMILIES, Family, Topology


@pytest.fixture(scope="module")
def storms() -> list[Storm]:
    """Two small storms of each family."""
    return [storm(family, chance_of("tests", number, family), instances=6) for family in FAMILIES for number in (1, 2)]


def test_a_storm_follows_from_its_seed() -> None:
    """The same commit and number give the same storm, event by event; another commit or number another one."""
    made = [storm("rack", chance_of(*seed), instances=2) for seed in (("a", 1), ("a", 1), ("a", 2), ("b", 1))]
    assert made[0] == made[1]
    assert made[0].events != made[2].events
    assert made[0].events != made[3].events


def test_nothing_but_the_product_module_imports_the_product() -> None:
    """The generator, the grader and the baselines load no module of streams, schemas or sinks."""
    names = ("generator", "grader", "scores", "topology", "baselines", "alertmanager", "alertmanager_program")
    code = (
        f"import sys, importlib; [importlib.import_module('benchmarks.labelled.' + n) for n in {names}];"
        "print({m.split('.')[0] for m in sys.modules} & {'streams', 'schemas', 'sinks'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_truth_has_every_key_and_its_cause(storms: list[Storm]) -> None:
    """Every key that is sent has one cause, every cause has a key; the times are those of arrivals."""
    for made in storms:
        sent = {event.body["dedup_key"] for event in made.events}
        assert sent == set(made.truth.keys)
        assert set(made.truth.keys.values()) == set(made.truth.causes)
        of: dict[str, list[Event]] = {}
        for event in made.events:
            of.setdefault(made.truth.keys[event.body["dedup_key"]], []).append(event)
        for name, cause in made.truth.causes.items():
            assert cause.began == of[name][0].at
            assert cause.at == next(event.at for event in of[name] if event.service == cause.service)
            assert cause.owner == made.topology.owners[cause.service]


def test_roots_explain_their_alerts(storms: list[Storm]) -> None:
    """Two to five roots; a root's alerts are of its service and of services downstream; no root is below another."""
    for made in storms:
        roots = {name: cause for name, cause in made.truth.causes.items() if cause.kind == "root"}
        assert 2 <= len(roots) <= 5
        below = {name: made.topology.downstream(cause.service) for name, cause in roots.items()}
        for name, cause in roots.items():
            assert not any(cause.service in services for services in below.values())
            keys = [key for key, of in made.truth.keys.items() if of == name]
            assert {key.split("/")[0] for key in keys} <= {cause.service} | below[name]


def test_noise_and_maintenance_have_causes_of_their_own(storms: list[Storm]) -> None:
    """A noise alert is alone; what a service in maintenance sends in its window is no root's."""
    for made in storms:
        sizes = Counter(made.truth.keys.values())
        assert {sizes[name] for name, cause in made.truth.causes.items() if cause.kind == "noise"} == {1}
        kinds = {cause.service: cause.kind for cause in made.truth.causes.values() if cause.kind == "maintenance"}
        assert set(kinds) == {window.service for window in made.maintenance}


def test_events_come_in_the_order_of_arrival_with_the_stated_faults(storms: list[Storm]) -> None:
    """About 2 % of events come twice; clocks of senders are wrong by a minute or so, and 5 % of events are late."""
    events = [event for made in storms for event in made.events]
    assert all(first.at <= second.at for made in storms for first, second in pairwise(made.events))
    bodies = Counter(id(event.body) for event in events)
    assert sum(n == 2 for n in bodies.values()) / len(bodies) == pytest.approx(generator.DOUBLED, abs=0.005)


def test_the_share_of_late_and_lost_events_is_as_stated() -> None:
    """5 % arrive later than they were sent, and 10 % of resolves not at all."""
    making = generator._Making(topology.build("dag", Random(1)), Random(2), 1)
    alert = generator.Alert("svc-0-00", "svc-0-00-0", "unavailable", "critical")
    making.keys[alert.key] = "root-0"
    making.kinds["root-0"] = ("root", alert.service)
    count = 20_000
    for number in range(count):
        making._send(alert, "trigger", generator.START_MS + number)
        making._send(alert, "resolve", generator.START_MS + number)
    first = {id(event.body): event for event in reversed(making.events)}.values()
    actions = Counter(event.body["event_action"] for event in first)
    assert actions["trigger"] == count
    assert actions["resolve"] / count == pytest.approx(1 - generator.LOST_RESOLVES, abs=0.01)
    late = sum(event.at >= generator.START_MS + count for event in first)
    assert late / len(first) == pytest.approx(generator.LATE, abs=0.01)


def test_delays_have_their_median_and_tail() -> None:
    """Half of the delays are below 20 s, one in a hundred is the tail of ten minutes, none is longer."""
    making = generator._Making(topology.switch(1), Random(3), 1)
    delays = sorted(making.delay() for _ in range(20_000))
    assert delays[10_000] == pytest.approx(generator.DELAY_MEDIAN_MS, rel=0.05)
    assert delays[-1] == generator.DELAY_TAIL_MS
    assert sum(delay == generator.DELAY_TAIL_MS for delay in delays) / len(delays) == pytest.approx(0.01, abs=0.003)


def test_the_null_storm_has_no_root_and_varies_over_the_day() -> None:
    """Noise alone, with at least half as many openings again in the busiest six hours as in the quietest."""
    made = null_storm(chance_of("tests"), hours=24)
    assert {cause.kind for cause in made.truth.causes.values()} == {"noise"}
    seen = Counter(
        (cause.began - generator.START_MS) // (6 * generator.HOUR_MS) for cause in made.truth.causes.values()
    )
    assert max(seen.values()) > 1.5 * min(seen[quarter] for quarter in range(4))


def test_the_switch_storm_has_one_cause() -> None:
    """As many keys as asked for, all of one root; every other service needs the switch."""
    made = switch_storm(chance_of("tests"), keys=2_000, services=19)
    assert len(made.truth.keys) == 2_000
    assert set(made.truth.keys.values()) == {"root-0"}
    assert made.topology.downstream("switch-1") == set(made.topology.depends_on) - {"switch-1"}


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_of_the_topology_have_their_share_and_make_no_cycle(family: Family) -> None:
    """10 % of the edges are missing and 5 % lead elsewhere; every service still needs earlier ones only."""
    true = topology.build(family, Random(4))
    handed = true.with_errors(0.10, 0.05, Random(5))
    edges, got = _edges(true), _edges(handed)
    # Where no other earlier service is left, an edge is not spoilt.
    assert len(got - edges) == pytest.approx(0.05 * len(edges), rel=0.2)
    assert len(edges - got) == pytest.approx(0.15 * len(edges), rel=0.1)
    order = list(handed.depends_on)
    assert all(order.index(need) < order.index(service) for service, need in got)
    assert not _edges(true.with_errors(1.0, 0.0, Random(6)))
    assert true.with_errors(0.0, 0.0, Random(7)) == true


def _edges(of: Topology) -> set[tuple[str, str]]:
    return {(service, need) for service, needs in of.depends_on.items() for need in needs}
