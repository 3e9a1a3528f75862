"""A partition's state: batches that leave no trace when they fail, deadlines, marks and the key bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.changelog import Owner, Position
from streams.engine.state import BUCKET_MS, Deadlines, PartitionState
from streams.engine.store import MemoryStore


@pytest.fixture
def state() -> PartitionState:
    """An empty partition."""
    return PartitionState(MemoryStore())


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
    """Values, marks, new deadlines and the next flush are as if the batch had never been."""
    committed(state, a=b"1")
    state.begin()
    state.marks["m"] = 1
    state.schedule(b"a", 5_000)
    state.commit()
    state.cut(10)
    state.begin()
    state.put(b"a", b"2")
    state.put(b"n", b"2")
    state.delete(b"a")
    state.marks["m"] = 2
    state.schedule(b"n", 1_000)
    assert state.due(5_000) == [b"a"]
    state.rollback()
    assert dict(state.items()) == {b"a": b"1"}
    assert state.marks == {"m": 1}
    assert state.cut(11) == ({}, Position(11, 0, {"m": 1}))
    assert state.due(4_000) == []


def test_a_deadline_taken_by_a_failed_batch_is_due_again_at_once(state: PartitionState) -> None:
    """The batch is taken again record by record at the same stream time, and must find what was due."""
    state.begin()
    state.schedule(b"a", 1_000)
    state.commit()
    state.begin()
    assert state.due(1_500) == [b"a"]
    state.rollback()
    state.begin()
    assert state.due(1_500) == [b"a"]
    state.commit()
    assert state.due(9_000) == []


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
    assert position == Position(5, 0, {"m": 1})
    assert state.cut(6)[0] == {b"a": b"2"}


def test_writes_of_one_key_coalesce(state: PartitionState) -> None:
    """However often a key changed, a flush carries it once, with its newest value."""
    for number in range(100):
        committed(state, a=b"%d" % number)
    assert state.cut(1)[0] == {b"a": b"99"}


def test_marks_and_stream_time_continue_from_the_store() -> None:
    """They come back from the position of the last flush."""
    store = MemoryStore()
    store.flushed({}, Position(5, 1_234, {"m": 7}), 2, Owner(1, 1))
    state = PartitionState(store)
    assert (state.stream_time, state.marks) == (1_234, {"m": 7})


def test_the_key_bound_forgets_the_oldest_and_says_how_many(state: PartitionState) -> None:
    """Keys above the bound are deleted in the next flush."""
    committed(state, **{f"k{number:02}": b"v" for number in range(10)})
    state.cut(1)
    assert state.evict(10) == 0
    assert state.evict(7) == 3
    assert len(state) == 7
    assert state.cut(2)[0] == {b"k00": None, b"k01": None, b"k02": None}


def test_keys_that_must_be_written_again_go_into_the_next_flush(state: PartitionState) -> None:
    """With their value here, or as a deletion when there is none here."""
    committed(state, a=b"1")
    state.cut(1)
    state.reassert({b"a", b"unknown"})
    assert state.cut(2)[0] == {b"a": b"1", b"unknown": None}


def test_deadlines_are_rebuilt_from_values() -> None:
    """A recovered partition knows every deadline that its values carry, and none for 0."""
    store = MemoryStore()
    store.apply({b"a": b"\x05", b"b": b"\x00", b"c": b"\x02"})
    state = PartitionState(store, deadline=lambda value: value[0] * 1_000)
    assert state.due(2_000) == [b"c"]
    assert state.due(100_000) == [b"a"]


@given(st.dictionaries(st.binary(min_size=1, max_size=3), st.integers(1, 60_000)), st.lists(st.integers(0, 70_000)))
def test_deadlines_come_once_never_early_and_less_than_a_bucket_late(
    deadlines: dict[bytes, int], times: list[int]
) -> None:
    """Over any growing time, every passed deadline is returned exactly once within BUCKET_MS."""
    index = Deadlines()
    for key, at in deadlines.items():
        index.schedule(key, at)
    waiting = dict(deadlines)
    for now in sorted(times):
        for key in index.due(now):
            assert waiting.pop(key) <= now
        assert all(at > now - BUCKET_MS for at in waiting.values())


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
