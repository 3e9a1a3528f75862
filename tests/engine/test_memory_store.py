"""The memory store is a dict that takes little memory, whatever it packs, unpacks and rewrites inside."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.engine.changelog import OWN, POS, Owner, Position, Replay, own_record, pos_record
from streams.engine.packed import PackedTable
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore
from tests.engine.test_changelog import log

#: Keys of every kind: of fingerprints, with prefixes, short ones, and ones whose last bytes are zero or the same.
KEYS = [b"", b"k", *(b"%016d" % n for n in range(150)), *(b"member:%d" % n for n in range(60)), *(
    bytes([n]) + bytes(8) for n in range(60)), *(b"%dsame" % n for n in range(60))]  # fmt: skip
VALUES = st.one_of(st.binary(max_size=3), st.binary(max_size=3).map(lambda part: part * 90))
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), VALUES), max_size=60)


class AsADict(RuleBasedStateMachine):
    """One store whose dict holds eight keys, beside a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(share=8)
        self.state = PartitionState(self.store)
        self.model: dict[bytes, bytes] = {}
        self.offset = 0

    @rule(changes=CHANGES)
    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        """Puts and deletes of keys that nobody read before."""
        self.store.apply(changes)
        self._expect(changes)

    @rule(changes=CHANGES, kept=st.booleans())
    def batch(self, changes: dict[bytes, bytes | None], kept: bool) -> None:
        """A stage reads each key before it writes it; sometimes it fails."""
        self.state.begin()
        for key, value in changes.items():
            assert self.state.get(key) == self.model.get(key)
            if value is None:
                self.state.delete(key)
            else:
                self.state.put(key, value)
        if kept:
            self.state.commit()
            self._expect(changes)
        else:
            self.state.rollback()

    @rule(values=st.lists(VALUES, min_size=1, max_size=5), churn=st.integers(1, 60))
    def all_of_them(self, values: list[bytes], churn: int) -> None:
        """Every key is written, so that most are packed; some are deleted."""
        changes: dict[bytes, bytes | None] = {
            key: None if n % 7 == churn % 7 else values[n % len(values)] for n, key in enumerate(KEYS)
        }
        self.store.apply(changes)
        self._expect(changes)

    @rule(changes=CHANGES)
    def replay(self, changes: dict[bytes, bytes | None]) -> None:
        """A flush is read from the changelog."""
        flush = [(OWN, own_record(Owner(1, 1), 0)), *changes.items(), (POS, pos_record(Position(7)))]
        records = log(flush)
        Replay(self.store).read([record._replace(offset=self.offset + number) for number, record in enumerate(records)])
        self.offset += len(records)
        self._expect(changes)

    @rule(key=st.sampled_from(KEYS))
    def get(self, key: bytes) -> None:
        """One key is read."""
        assert self.store.get(key) == self.model.get(key)

    @precondition(lambda self: self.model)
    @rule()
    def all_are_read(self) -> None:
        """Reading every key changes none."""
        assert {key: self.store.get(key) for key in self.model} == self.model

    @invariant()
    def same(self) -> None:
        """The same keys with the same values, each once."""
        items = list(self.store.items())
        assert len(items) == len(self.store) == len(self.model)
        assert dict(items) == self.model

    def _expect(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value


TestAsADict = AsADict.TestCase
TestAsADict.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def _keys(start: int, stop: int) -> dict[bytes, bytes | None]:
    return {b"%016d" % n: b"value %d of about fifty bytes, as an alert's entry is" % n for n in range(start, stop)}


def test_a_storm_over_few_keys_is_never_packed() -> None:
    """Keys that fit the share stay in the dict, however often they come and go."""
    store = MemoryStore(share=1_000)
    for _ in range(50):
        store.apply(_keys(0, 800))
        store.apply(dict.fromkeys(_keys(0, 800)))
        store.apply(_keys(800, 1_600))
        store.apply(dict.fromkeys(_keys(800, 1_600)))
    store.apply(_keys(0, 1_000))
    assert store._packed.count == 0
    assert store._arrivals <= 2 * 1_000 + 1_000


def test_the_dict_holds_its_share() -> None:
    """Whether keys are written blindly or read first, all but the share are packed soon after."""
    store = MemoryStore(share=1_000)
    for start in range(0, 20_000, 500):
        store.apply(_keys(start, start + 500))
        assert len(store._recent) <= 1_100
    for start in range(0, 20_000, 500):
        keys = _keys(start, start + 500)
        assert {key: store.get(key) for key in keys} == keys
        store.apply(keys)
        assert len(store._recent) <= 1_700
    assert len(store) == 20_000


def test_who_only_looks_leaves_packed_keys_packed() -> None:
    """The index of deadlines reads every key at once: that must not unpack the table."""
    store = MemoryStore(share=1_000)
    keys = _keys(0, 20_000)
    for start in range(0, 20_000, 500):
        store.apply(_keys(start, start + 500))
    packed = store._packed.count
    assert {key: store.read(key) for key in keys} == keys
    assert store.read(b"absent") is None
    assert store._packed.count == packed > 18_000


def test_what_was_taken_gives_its_memory_back() -> None:
    """A table whose rows were taken holds no chunks, and one that lost most of them holds no more than twice."""
    table = PackedTable(groups=1)
    keys = [b"%016d" % n for n in range(10_000)]
    for start in range(0, len(keys), 50):
        table.add(0, keys[start : start + 50], [b"v" * 100] * 50)
    for key in keys[:9_000]:
        assert table.take(key) == b"v" * 100
    assert sum(map(len, table._tags)) <= 4 * 2 * 1_000
    for key in keys[9_000:]:
        table.take(key)
    assert table.count == 0
    assert not table._groups[0].chunks


def test_no_call_takes_long() -> None:
    """A call moves about as many keys as it takes, however many there are: nothing is rehashed or moved at once."""
    store = MemoryStore(share=8_192)
    for start in range(0, 100_000, 500):
        packed, queued = store._packed.count, len(store._queue)
        store.apply(_keys(start, start + 500))
        assert abs(store._packed.count - packed) <= 4 * 500
        assert queued + 500 - len(store._queue) <= 3 * 500
        assert len(store._recent) <= 2 * 8_192
