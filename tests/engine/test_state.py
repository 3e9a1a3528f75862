"""A partition's state: calls that leave no trace when they fail, deadlines in one order, marks and the key bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.changelog import Owner, Position, Time
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore


@pytest.fixture
def state() -> PartitionState:
    """An empty partition, whose values are their deadlines in seconds."""
    return PartitionState(MemoryStore(), due_of)


def due_of(value: bytes) -> int:
    """The deadline in a value, 0 if it is no number."""
    return int(value) * 1_000 if value.isdigit() else 0


def fired(state: PartitionState, now: int) -> list[tuple[bytes, int]]:
    """What fires when the time is `now`, each key put or deleted by then."""
    state.clock.record(now)
    found: list[tuple[bytes, int]] = []
    while due := state.ripe(2):
        found += due
        committed(state, **{key.decode(): None for key, _ in due})
    return found


def committed(state: PartitionState, **changes: bytes | None) -> None:
    """One batch with these changes."""
    state.begin()
    for key, value in changes.items():
        if value is None:
            state.delete(key.encode())
        else:
            state.put(key.encode(), value)
    state.commit()


def test_a_batch_sees_its_own_writes_and_others_see_them_after_commit(state: PartitionState) -> None:
    """get shows put and delete at once; items and len show them after the batch."""
    committed(state, a=b"1", b=b"1")
    state.begin()
    state.put(b"a", b"2")
    state.delete(b"b")
    assert (state.get(b"a"), state.get(b"b")) == (b"2", None)
    assert dict(state.items()) == {b"a": b"1", b"b": b"1"}
    state.commit()
    assert dict(state.items()) == {b"a": b"2"}
    assert len(state) == 1


def test_a_rolled_back_batch_leaves_no_trace(state: PartitionState) -> None:
    """Values, marks, deadlines and the next flush are as if the batch had never been."""
    state.begin()
    state.put(b"a", b"5", 5_000)
    state.marks["m"] = 1
    state.commit()
    state.cut(10)
    state.begin()
    state.put(b"a", b"2", 2_000)
    state.put(b"n", b"1", 1_000)
    state.marks["m"] = 2
    state.rollback()
    assert dict(state.items()) == {b"a": b"5"}
    assert state.marks == {"m": 1}
    assert state.cut(11) == ({}, Position(11, 0, {"m": 1}))
    assert fired(state, 4_999) == []
    assert fired(state, 5_000) == [(b"a", 5_000)]


def test_a_cut_belongs_to_its_moment(state: PartitionState) -> None:
    """Later batches change neither a cut's changes nor the marks in its position."""
    state.begin()
    state.put(b"a", b"1")
    state.marks["m"] = 1
    state.commit()
    changes, position = state.cut(5)
    state.begin()
    state.put(b"a", b"2")
    state.marks["m"] = 2
    state.commit()
    assert changes == {b"a": b"1"}
    assert position == Position(5, 0, {"m": 1}, Time(0, 1))
    assert state.cut(6)[0] == {b"a": b"2"}


def test_writes_of_one_key_coalesce(state: PartitionState) -> None:
    """However often a key changed, a flush carries it once, with its newest value."""
    for number in range(100):
        committed(state, a=b"%d" % number)
    assert state.cut(1)[0] == {b"a": b"99"}


def test_marks_and_time_continue_from_the_store() -> None:
    """They come back from the position of the last flush; what fired before does not fire for the same deadline."""
    store = MemoryStore()
    store.apply({b"a": b"40", b"b": b"40", b"c": b"39"})
    store.flushed({}, Position(5, 0, {"m": 7}, Time(50_000, 40_000, b"a\0", {"f": 50_000})), 2, Owner(1, 1))
    state = PartitionState(store, due_of)
    assert list(state.index()) == []
    assert (state.clock.now, state.marks, state.settled) == (50_000, {"m": 7}, False)
    assert state.ripe(5) == [(b"c", 40_000), (b"a", 40_001), (b"b", 40_001)]


def test_a_deadline_the_order_has_passed_fires_at_the_next_millisecond_and_not_at_once(state: PartitionState) -> None:
    """Put at 3 s when it is 9 s: nothing fires before time moves on, and then it says 9.001 s."""
    assert fired(state, 9_000) == []
    state.begin()
    state.put(b"a", b"3", 3_000)
    state.commit()
    assert fired(state, 9_000) == []
    assert fired(state, 9_500) == [(b"a", 9_001)]


def test_a_deadline_in_a_table_that_cannot_read_it_is_refused() -> None:
    """It could not come back after a recovery."""
    state = PartitionState(MemoryStore())
    state.begin()
    state.put(b"a", b"5", 5_000)
    with pytest.raises(ValueError, match="no `due`"):
        state.commit()


def test_the_key_bound_forgets_what_may_go_and_is_due_first() -> None:
    """Keys above the bound are deleted in the next flush; where none may go, all stay."""
    state = PartitionState(MemoryStore(), due_of, lambda value: int(value) % 2 == 0)
    state.begin()
    for number in range(1, 21):
        state.put(b"k%02d" % number, b"%d" % (100 - number), (100 - number) * 1_000)
    state.commit()
    state.cut(1)
    assert state.evict(20) == 0
    assert state.evict(17) == 3
    assert state.cut(2)[0] == {b"k20": None, b"k18": None, b"k16": None}
    assert state.evict(5) == 7
    assert state.evict(5) == 0
    assert all(int(value) % 2 for _, value in state.items())


def test_keys_that_must_be_written_again_go_into_the_next_flush(state: PartitionState) -> None:
    """With their value here, or as a deletion when there is none here."""
    committed(state, a=b"1")
    state.cut(1)
    state.reassert({b"a", b"unknown"})
    assert state.cut(2)[0] == {b"a": b"1", b"unknown": None}


puts = st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.none() | st.integers(0, 9_000))


@given(st.lists(st.tuples(st.lists(puts, max_size=4), st.integers(0, 2_000), st.booleans()), max_size=30))
def test_every_deadline_fires_once_in_order_and_never_early(
    turns: list[tuple[list[tuple[bytes, int | None]], int, bool]],
) -> None:
    """As a plain dictionary of deadlines says, for any puts, deletions, steps of time and restarts.

    Deadlines up to two and a half hours away, so that seconds, hours and what is moved between them take part.
    """

    def read(value: bytes) -> int:
        return int(value)

    state, armed, now, last = PartitionState(MemoryStore(), read), dict[bytes, int](), 0, (0, b"")
    for changes, step, restarts in turns:
        state.begin()
        for key, due in changes:
            if due is None:
                state.delete(key)
                armed.pop(key, None)
            else:
                state.put(key, b"%d" % (due * 1_000), due * 1_000)
                armed[key] = due * 1_000
                if not due:
                    del armed[key]
        state.commit()
        if restarts:
            store = state.store
            changed, position = state.cut(0)
            store.flushed(changed, position, 0, Owner(1, 1))
            state = PartitionState(store, read)
            assert list(state.index()) == []
        if not step:
            continue
        now += step * 1_000
        state.clock.record(now)
        expected = sorted((due, key) for key, due in armed.items() if due <= now)
        found: list[tuple[bytes, int]] = []
        while due_now := state.ripe(3):
            found += due_now
            state.begin()
            for key, _ in due_now:
                state.delete(key)
                armed.pop(key)
            state.commit()
        assert sorted(key for key, _ in found) == sorted(key for _, key in expected)
        for key, at in found:
            assert last < (at, key)
            assert at <= now
            last = at, key


operations = st.lists(
    st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from([b"a", b"b", b"c"]), st.binary(max_size=2)),
    max_size=6,
)


@given(st.lists(st.tuples(operations, st.booleans())))
def test_only_committed_batches_count(batches: list[tuple[list[tuple[str, bytes, bytes]], bool]]) -> None:
    """State and the sum of all cuts equal a dict to which only the successful batches were applied."""
    state, model, flushed = PartitionState(MemoryStore()), dict[bytes, bytes](), dict[bytes, bytes]()
    for number, (batch, fails) in enumerate(batches):
        state.begin()
        copy = dict(model)
        for what, key, value in batch:
            if what == "put":
                state.put(key, value)
                copy[key] = value
            else:
                state.delete(key)
                copy.pop(key, None)
        if fails:
            state.rollback()
        else:
            state.commit()
            model = copy
        if number % 2:
            for key, fresh in state.cut(number)[0].items():
                if fresh is None:
                    flushed.pop(key, None)
                else:
                    flushed[key] = fresh
    for key, fresh in state.cut(0)[0].items():
        if fresh is None:
            flushed.pop(key, None)
        else:
            flushed[key] = fresh
    assert dict(state.items()) == model == flushed
