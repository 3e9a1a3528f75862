"""Shapes are pure and seeded, and each is what its name says."""

from collections import Counter, defaultdict

import pytest

from schemas.wire.alert import Action
from streams.storm.shapes import SHAPES, Size, specs

SIZE = Size(alerts=5_000, keys=200, services=7, seed=42)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_seed_same_alerts(shape: str) -> None:
    """A shape gives the same alerts for the same size and other keys for another seed."""
    assert list(specs(shape, SIZE)) == list(specs(shape, SIZE))
    keys = {spec.dedup_key for spec in specs(shape, SIZE)}
    assert keys.isdisjoint(spec.dedup_key for spec in specs(shape, SIZE._replace(seed=43)))


@pytest.mark.parametrize("shape", SHAPES)
def test_alerts_are_numbered_and_keys_keep_their_service(shape: str) -> None:
    """`n` counts from 0 without a gap, and a key never changes service, severity or summary."""
    found = list(specs(shape, SIZE))
    assert [spec.n for spec in found] == list(range(len(found)))
    same = defaultdict(set)
    for spec in found:
        same[spec.dedup_key].add((spec.service, spec.severity, spec.summary))
    assert all(len(seen) == 1 for seen in same.values())
    assert {spec.service for spec in found} == set(range(7))


def test_storm_has_exactly_its_keys() -> None:
    """`storm` sends N triggers over exactly K keys."""
    found = list(specs("storm", SIZE))
    assert len(found) == 5_000
    assert len({spec.dedup_key for spec in found}) == 200
    assert {spec.action for spec in found} == {Action.TRIGGER}


def test_unique_repeats_nothing() -> None:
    """`unique` gives every alert a key of its own."""
    assert len({spec.dedup_key for spec in specs("unique", SIZE)}) == 5_000


def test_hot_key_takes_most() -> None:
    """`hot-key` puts 90 % of all alerts on one key, and works with a single key."""
    counts = Counter(spec.dedup_key for spec in specs("hot-key", SIZE))
    assert counts.most_common(1)[0][1] == pytest.approx(4_500, rel=0.03)
    assert len(counts) > 50
    assert len({spec.dedup_key for spec in specs("hot-key", SIZE._replace(keys=1))}) == 1


def test_flapping_alternates_for_every_key() -> None:
    """`flapping` gives each key trigger, resolve, trigger, ..."""
    actions = defaultdict(list)
    for spec in specs("flapping", SIZE):
        actions[spec.dedup_key].append(spec.action)
    assert len(actions) == 200
    for sequence in actions.values():
        assert sequence == [Action.TRIGGER if i % 2 == 0 else Action.RESOLVE for i in range(len(sequence))]


def test_resolve_wave_resolves_what_a_storm_opened() -> None:
    """`resolve-wave` resolves each key of a storm of the same seed once, on the same service."""
    opened = {(spec.dedup_key, spec.service) for spec in specs("storm", SIZE)}
    wave = list(specs("resolve-wave", SIZE))
    assert {(spec.dedup_key, spec.service) for spec in wave} == opened
    assert len(wave) == 200
    assert {spec.action for spec in wave} == {Action.RESOLVE}


@pytest.mark.parametrize("size", [SIZE._replace(keys=0), SIZE._replace(services=0), SIZE._replace(alerts=-1)])
def test_impossible_sizes_are_refused(size: Size) -> None:
    """A size below 1 is an error that names it."""
    with pytest.raises(ValueError, match="must be at least 1"):
        specs("storm", size)


def test_unknown_shape_is_refused() -> None:
    """An unknown shape is an error that lists the known ones."""
    with pytest.raises(ValueError, match=r"hurricane.*flapping"):
        specs("hurricane", SIZE)
