"""Both stores keep the same promises."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.engine.changelog import OWN, POS, Owner, Position, Replay, Time, own_record, pos_record
from streams.engine.store import MemoryStore, RocksStore, Store
from tests.engine.test_changelog import log

Open = Callable[[], Store]


@pytest.fixture
def opened(store: str, tmp_path: Path) -> Iterator[Open]:
    """Opens one partition; closed at the end."""
    stores: list[Store] = []

    def open_one() -> Store:
        made: Store = MemoryStore() if store == "memory" else RocksStore(tmp_path / "table" / "0")
        stores.append(made)
        return made

    yield open_one
    stores[-1].close()


def test_changes_are_seen_at_once(opened: Open) -> None:
    """get, items and len show applied changes before any flush."""
    store = opened()
    store.apply({b"a": b"1", b"b": b"2", b"c": b"3"})
    store.apply({b"b": None, b"c": b"4", b"missing": None})
    assert store.get(b"a") == b"1"
    assert store.get(b"b") is None
    assert dict(store.items()) == {b"a": b"1", b"c": b"4"}
    assert len(store) == 2


def test_a_flush_keeps_newer_changes(opened: Open) -> None:
    """What was applied while a flush was under way stays visible after it."""
    store = opened()
    first: dict[bytes, bytes | None] = {b"a": b"1", b"b": b"1", b"c": b"1"}
    store.apply(first)
    store.apply({b"a": b"2", b"b": None, b"d": b"2"})
    store.flushed(first, Position(7), 3, Owner(1, 1))
    assert dict(store.items()) == {b"a": b"2", b"c": b"1", b"d": b"2"}
    assert len(store) == 3
    assert (store.position.offset, store.end) == (7, 3)


def test_rocksdb_keeps_what_a_flush_carried_and_nothing_else(tmp_path: Path) -> None:
    """After a reopening, values, position and changelog offset are those of the last flush."""
    store = RocksStore(tmp_path / "t")
    first: dict[bytes, bytes | None] = {b"a": b"1", b"b": b"1"}
    store.apply(first)
    store.flushed(first, Position(7, 0, {"mark": 3}, Time(99, 100, b"k", {"feeder": 98})), 3, Owner(1, 1))
    store.apply({b"a": b"2", b"c": b"2"})
    store.close()
    again = RocksStore(tmp_path / "t")
    assert dict(again.items()) == first
    assert len(again) == 2
    assert again.position == Position(7, 0, {"mark": 3}, Time(99, 100, b"k", {"feeder": 98}))
    assert again.end == 3
    again.close()


def test_a_replay_in_many_reads_survives_a_reopening(opened: Open) -> None:
    """What compaction left over is kept even when the flush that ends it comes with a later fetch."""
    store = opened()
    survivors: list[tuple[bytes | None, bytes | None]] = [(b"%d" % n, b"1") for n in range(10)]
    end = [(OWN, own_record(Owner(3, 1), 0)), (b"x", b"2"), (POS, pos_record(Position(20)))]
    records = log(survivors, end)
    replay = Replay(store)
    for record in records:
        replay.read([record])
    replay.finish()
    if isinstance(store, RocksStore):
        store.close()
        store = opened()
    assert dict(store.items()) == {b"%d" % n: b"1" for n in range(10)} | {b"x": b"2"}
    assert store.end == 12
    assert store.position.offset == 20
    assert Replay(store).highest == Owner(3, 1)


def test_an_unfinished_replay_is_read_again(tmp_path: Path) -> None:
    """Killed in the middle of a recovery, RocksDB asks for the changelog from where its position is true."""
    records = log([(b"a", b"1")], [(OWN, own_record(Owner(1, 1), 0)), (b"a", b"2"), (POS, pos_record(Position(5)))])
    store = RocksStore(tmp_path / "t")
    Replay(store).read(records[:1])
    store.close()
    again = RocksStore(tmp_path / "t")
    assert (again.end, again.position.offset) == (-1, -1)
    replay = Replay(again)
    replay.read(records)
    assert dict(again.items()) == {b"a": b"2"}
    again.close()


@pytest.mark.parametrize(
    ("age_ms", "kept"), [(0, True), (80_000, True), (95_000, False), (10**9, False), (-5_000, False)]
)
def test_files_older_than_deletions_are_built_anew(tmp_path: Path, age_ms: int, kept: bool) -> None:
    """Files are used if their last flush is younger than what the changelog deletes, and not from the future."""
    now = 1_700_000_000.0
    store = RocksStore.reopen(tmp_path / "t", 100_000, lambda: now)
    store.apply({b"a": b"1"})
    store.flushed({b"a": b"1"}, Position(7), 3, Owner(1, 1))
    store.close()
    again = RocksStore.reopen(tmp_path / "t", 100_000, lambda: now + age_ms / 1000)
    assert (dict(again.items()), again.end) == (({b"a": b"1"}, 3) if kept else ({}, -1))
    again.close()


def test_files_that_do_not_say_their_age_are_built_anew(tmp_path: Path) -> None:
    """Those of an earlier version are, and those of a topic whose settings are unknown."""
    store = RocksStore(tmp_path / "t")
    store.flushed({b"a": b"1"}, Position(7), 3, Owner(1, 1))
    assert not store.catches_up(0)
    store._db[b"__meta__"] = msgspec.msgpack.encode((3, Position(7), Owner(1, 1)))
    store.close()
    again = RocksStore.reopen(tmp_path / "t", 86_400_000, time.time)
    assert (dict(again.items()), again.end) == ({}, -1)
    again.close()


changes = st.dictionaries(st.binary(min_size=1, max_size=2), st.none() | st.binary(max_size=3), max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.tuples(changes, st.booleans()), max_size=12))
def test_both_stores_agree(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[dict, bool]]) -> None:  # type: ignore[type-arg]
    """Any sequence of applied changes and flushes shows the same keys and values in both."""
    memory, rocks = MemoryStore(), RocksStore(tmp_path_factory.mktemp("rocks") / "t")
    waiting: dict[bytes, bytes | None] = {}
    try:
        for end, (change, flush) in enumerate(steps):
            memory.apply(change)
            rocks.apply(change)
            waiting.update(change)
            if flush:
                memory.flushed(waiting, Position(end), end, Owner(1, 1))
                rocks.flushed(waiting, Position(end), end, Owner(1, 1))
                waiting = {}
            assert dict(memory.items()) == dict(rocks.items())
            assert len(memory) == len(rocks)
    finally:
        rocks.close()
