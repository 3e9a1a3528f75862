"""Replaying a changelog: any log gives the state of its last complete, rightful flush."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.changelog import OWN, POS, Owner, Position, Replay, own_record, pos_record
from streams.engine.lane import _flush
from streams.engine.store import MemoryStore


class Entry(NamedTuple):
    """A changelog record as a reader gets it."""

    offset: int
    key: bytes | None
    value: bytes | None


Pairs = list[tuple[bytes | None, bytes | None]]


def log(*flushes: Pairs) -> list[Entry]:
    """One partition of these flushes."""
    pairs = [pair for flush in flushes for pair in flush]
    return [Entry(offset, key, value) for offset, (key, value) in enumerate(pairs)]


def flush(owner: Owner, position: int, **changes: bytes | None) -> Pairs:
    """A whole flush in one chunk."""
    return [
        (OWN, own_record(owner, 0)),
        *((key.encode(), value) for key, value in changes.items()),
        (POS, pos_record(Position(position))),
    ]


def replayed(records: Sequence[Entry], store: MemoryStore | None = None) -> tuple[MemoryStore, Replay]:
    """The store after reading all records at once."""
    store = store or MemoryStore()
    replay = Replay(store)
    replay.read(records)
    replay.finish()
    return store, replay


A, B = Owner(1, 5), Owner(2, 3)


def test_flushes_apply_in_order_and_none_deletes() -> None:
    """Later values win, a null value removes the key, the position is the last flush's."""
    store, replay = replayed(log(flush(A, 10, k=b"1", m=b"1"), flush(A, 20, k=b"2", m=None)))
    assert dict(store.items()) == {b"k": b"2"}
    assert store.position.offset == 20
    assert replay.highest == A
    assert not replay.disputed


def test_a_torn_flush_is_not_applied_and_its_keys_are_disputed() -> None:
    """A flush without its position leaves the state of the one before it."""
    store, replay = replayed(log(flush(A, 10, k=b"1"), flush(A, 20, k=b"2", m=b"2")[:-1]))
    assert dict(store.items()) == {b"k": b"1"}
    assert store.position.offset == 10
    assert replay.disputed == {b"k", b"m"}


def test_a_torn_flush_followed_by_its_retry_counts_once() -> None:
    """The owner writes the same flush again; the first try's records are gone, nothing is disputed."""
    whole = flush(A, 20, k=b"2", m=b"2")
    store, replay = replayed(log(flush(A, 10, k=b"1"), whole[:-1], whole))
    assert dict(store.items()) == {b"k": b"2", b"m": b"2"}
    assert not replay.disputed


def test_the_flush_of_a_fenced_owner_is_ignored_and_its_keys_are_disputed() -> None:
    """After a higher owner wrote, a lower one changes neither values nor position."""
    store, replay = replayed(log(flush(A, 10, k=b"1"), flush(B, 10), flush(A, 30, k=b"zombie", z=b"zombie")))
    assert dict(store.items()) == {b"k": b"1"}
    assert store.position.offset == 10
    assert replay.disputed == {b"k", b"z"}


def test_a_disputed_key_written_again_by_its_owner_is_settled() -> None:
    """Once the rightful owner wrote the key again, its newest record counts."""
    zombie = flush(A, 30, k=b"zombie")
    store, replay = replayed(log(flush(A, 10, k=b"1"), flush(B, 10), zombie, flush(B, 20, k=b"1")))
    assert dict(store.items()) == {b"k": b"1"}
    assert not replay.disputed


def test_a_higher_fence_wins_over_any_generation() -> None:
    """Group generations start over when the group's metadata is lost; the fence decides."""
    store, _ = replayed(log(flush(Owner(1, 900), 10, k=b"1"), flush(Owner(2, 1), 20, k=b"2")))
    assert dict(store.items()) == {b"k": b"2"}


def chunked(owner: Owner, position: int, *chunks: Mapping[str, bytes | None]) -> Pairs:
    """A flush of several chunks."""
    pairs: Pairs = []
    for number, chunk in enumerate(chunks):
        pairs.append((OWN, own_record(owner, number)))
        pairs += [(key.encode(), value) for key, value in chunk.items()]
    pairs.append((POS, pos_record(Position(position))))
    return pairs


def test_a_flush_of_many_chunks_applies_as_a_whole() -> None:
    """Nothing of it shows before its position was read, everything after."""
    pairs = chunked(A, 20, {"a": b"2"}, {"b": b"2"}, {"c": b"2"})
    for cut in range(1, len(pairs)):
        store, _ = replayed(log(flush(A, 10, a=b"1"), pairs[:cut]))
        assert dict(store.items()) == {b"a": b"1"}, cut
    store, _ = replayed(log(flush(A, 10, a=b"1"), pairs))
    assert dict(store.items()) == {b"a": b"2", b"b": b"2", b"c": b"2"}


def test_a_zombie_between_the_chunks_of_a_flush_is_ignored() -> None:
    """The rightful flush goes on with its next chunk after a zombie's whole flush."""
    rightful = chunked(B, 20, {"a": b"2"}, {"b": b"2"})
    zombie = flush(A, 90, a=b"zombie", z=b"zombie")
    store, replay = replayed(log(flush(A, 10, a=b"1"), rightful[:2], zombie, rightful[2:]))
    assert dict(store.items()) == {b"a": b"2", b"b": b"2"}
    assert store.position.offset == 20
    assert replay.disputed == {b"z"} or replay.disputed == {b"a", b"z"}


def test_the_rest_of_a_fenced_flush_is_ignored() -> None:
    """A new owner comes between two chunks: the old owner's flush never completes."""
    old = chunked(A, 20, {"a": b"2"}, {"b": b"2"})
    store, replay = replayed(log(flush(A, 10, a=b"1"), old[:2], flush(B, 10), old[2:]))
    assert dict(store.items()) == {b"a": b"1"}
    assert store.position.offset == 10
    assert replay.disputed == {b"a", b"b"}


def test_what_compaction_left_over_counts() -> None:
    """Records without their `__own__` and `__pos__`, which compaction removed, are state."""
    survivors = [(b"a", b"1"), (b"b", b"1")]
    store, _ = replayed(log(survivors, flush(A, 20, c=b"2")))
    assert dict(store.items()) == {b"a": b"1", b"b": b"1", b"c": b"2"}
    assert store.position.offset == 20


def test_records_below_the_stores_end_are_not_read_twice() -> None:
    """A store that was filled before takes only what came since."""
    records = log(flush(A, 10, k=b"1"), flush(A, 20, k=b"2"))
    store, _ = replayed(records[:3])
    store.apply({b"k": b"seen"})
    store.end = 2
    replay = Replay(store)
    replay.read(records)
    assert dict(store.items()) == {b"k": b"2"}
    store.apply({b"k": b"seen"})
    store.end = replay.end
    again = Replay(store)
    again.read(records)
    assert dict(store.items()) == {b"k": b"seen"}


def test_a_store_continued_without_news_still_knows_its_highest_owner() -> None:
    """A store kept over a rebalance must not start from fence 0, or its owner's flushes would be a zombie's."""
    store, _ = replayed(log(flush(Owner(7, 3), 10, k=b"1")))
    assert Replay(store).highest == Owner(7, 3)


changes_of_a_flush = st.dictionaries(
    st.sampled_from([b"a", b"b", b"c", b"d"]), st.none() | st.binary(max_size=3), max_size=4
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Owner, int, list[dict[bytes, bytes | None]]]]:
    """Flushes of owners that take over from each other, in one to three chunks, positions growing."""
    owner, position, found = Owner(1, 1), 0, []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            owner = Owner(owner.fence + 1, draw(st.integers(1, 9)))
        position += draw(st.integers(0, 5))
        found.append((owner, position, draw(st.lists(changes_of_a_flush, min_size=1, max_size=3))))
    return found


@given(histories(), st.data())
def test_any_prefix_gives_the_state_of_the_last_complete_flush(
    history: list[tuple[Owner, int, list[dict[bytes, bytes | None]]]], data: st.DataObject
) -> None:
    """However the log ends and however it is fetched, state and position belong to one complete flush."""
    pairs: Pairs = []
    complete: list[tuple[int, dict[bytes, bytes], int]] = [(0, {}, -1)]
    state: dict[bytes, bytes] = {}
    for owner, position, chunks in history:
        for number, chunk in enumerate(chunks):
            pairs.append((OWN, own_record(owner, number)))
            pairs += list(chunk.items())
            for key, value in chunk.items():
                state = {k: v for k, v in state.items() if k != key} | ({key: value} if value is not None else {})
        pairs.append((POS, pos_record(Position(position))))
        complete.append((len(pairs), state, position))
    cut = data.draw(st.integers(0, len(pairs)))
    records = log(pairs[:cut])
    store = MemoryStore()
    replay = Replay(store)
    while records:
        size = data.draw(st.integers(1, len(records)))
        replay.read(records[:size])
        records = records[size:]
    replay.finish()
    _, expected, position = [entry for entry in complete if entry[0] <= cut][-1]
    assert dict(store.items()) == expected
    assert store.position.offset == position


@given(histories(), st.data())
def test_a_zombie_at_any_place_changes_nothing(
    history: list[tuple[Owner, int, list[dict[bytes, bytes | None]]]], data: st.DataObject
) -> None:
    """A whole flush of a former owner, anywhere after it was fenced, leaves the state as without it."""
    pairs: Pairs = [(OWN, own_record(Owner(1, 9), 0)), (POS, pos_record(Position(0)))]
    batches = [pairs]
    for owner, position, chunks in history:
        for number, chunk in enumerate(chunks):
            batches.append([(OWN, own_record(Owner(owner.fence + 1, owner.generation), number)), *chunk.items()])
        batches[-1].append((POS, pos_record(Position(position))))
    place = data.draw(st.integers(2, len(batches)))
    zombie = flush(Owner(1, 9), 10_000, a=b"zombie", z=b"zombie")
    clean, _ = replayed(log(*batches))
    haunted, replay = replayed(log(*batches[:place], zombie, *batches[place:]))
    assert dict(haunted.items()) == dict(clean.items())
    assert haunted.position == clean.position
    assert b"z" in replay.disputed


@given(st.dictionaries(st.binary(min_size=9, max_size=12), st.none() | st.binary(max_size=50_000), max_size=60))
def test_the_chunks_of_a_flush_are_small_and_whole(changes: dict[bytes, bytes | None]) -> None:
    """Every chunk begins with its owner and its number, the last one ends with the position, none is too big."""
    chunks = list(_flush(A, changes, Position(5), 800_000))
    assert [chunk[0] for chunk in chunks] == [(OWN, own_record(A, number), ()) for number in range(len(chunks))]
    assert chunks[-1][-1] == (POS, pos_record(Position(5)), ())
    body = [item for chunk in chunks for item in chunk if item[0] not in (OWN, POS)]
    assert [(key, value) for key, value, _ in body] == list(changes.items())
    for chunk in chunks:
        assert sum(len(key or b"") + len(value or b"") + 24 for key, value, _ in chunk) < 900_000
