"""Time is data: the same log gives the same decisions, however it is cut, killed or delayed, and no clock of ours."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine import TableSpec
from streams.engine.clock import FAR_MS, MARGIN_MS, BrokerTime, Clock, mark, read_mark
from streams.engine.stage_lane import FIRED_AT_ONCE
from streams.engine.turns import Turns
from tests.engine.memory import DEAD, OUTPUT, SOURCE, Fetched, Memory, feed

HOLD_MS = 300_000
START = 1_700_000_000_000
FEEDERS = ("raw/0", "raw/1")


class Holds:
    """Opens a key HOLD_MS after its trigger unless a resolve came first; an open one repeats every quarter of that.

    A value is the deadline and the number of repeats. The third repeat is the last.
    """

    def __call__(self, state: Any, records: Sequence[Fetched], now: int) -> list[Any]:
        """A trigger's value is `t` and its own time, a resolve's is `r`."""
        outputs = []
        for record in records:
            assert record.key is not None
            assert record.value is not None
            if record.value == b"r":
                if state.get(record.key) is not None:
                    state.delete(record.key)
                    outputs.append((OUTPUT, record.key, b"transient", 0, (("r", b"%d" % record.offset),)))
            elif state.get(record.key) is None:
                put(state, record.key, int(record.value[1:]) + HOLD_MS, 0)
        return outputs

    def on_due(self, state: Any, due: Sequence[tuple[bytes, int]], now: int) -> list[Any]:
        """Open, or repeat; the header says which deadline that was."""
        outputs = []
        for key, at in due:
            assert due_of(state.get(key)) <= now, "early"
            repeats = state.get(key)[8]
            outputs.append((OUTPUT, key, b"open %d" % repeats, 0, (("d", b"%020d" % at + key),)))
            if repeats == 3:
                state.delete(key)
            else:
                put(state, key, due_of(state.get(key)) + HOLD_MS // 4, repeats + 1)
        return outputs


def put(state: Any, key: bytes, at: int, repeats: int) -> None:
    """Arm a key."""
    state.put(key, at.to_bytes(8, "big") + bytes([repeats]), at)


def due_of(value: bytes) -> int:
    """The deadline in a value."""
    return int.from_bytes(value[:8], "big")


SPEC = TableSpec("holds", "changelog", due=due_of)


def decisions(memory: Memory) -> list[tuple[bytes | None, bytes | None]]:
    """What a next stage takes: outputs in order, without what it knows to be a repetition, by offset or deadline."""
    known = {"r": -1, "d": b""}
    found = []
    for topic, (key, value, ((kind, place),)) in memory.outputs:
        number: Any = int(place) if kind == "r" else place
        if topic == OUTPUT and number > known[kind]:
            known[kind] = number
            found.append((key, value))
    return found


def record(offset: int, second: float, key: str, value: bytes) -> Fetched:
    """A record that the broker stamped this many seconds after START."""
    at = START + int(second * 1_000)
    return Fetched(offset, at, key.encode(), b"t%d" % at if value == b"t" else value)


def told(offset: int, second: float, feeder: str, upto: float) -> Fetched:
    """A mark at that second: the feeder has processed its input up to second `upto`."""
    _, value, headers = mark(feeder, START + int(upto * 1_000))
    return Fetched(offset, START + int(second * 1_000), None, value, headers)


def run(log: Sequence[Fetched], cuts: Sequence[int] = (), kills: Sequence[int] = (), feeders: Any = FEEDERS) -> Memory:
    """The log through a lane: batches of these sizes over and over, killed after so many calls of the broker each."""

    async def all_of_it() -> Memory:
        memory = Memory()
        for calls in (*kills, 1_000_000_000):
            memory.calls_left = calls
            lane = memory.open(Holds(), SPEC, feeders)
            left, batches, turn = list(log[lane.processed + 1 :]), [], 0
            while left:
                size = cuts[turn % len(cuts)] if cuts else len(left)
                batches.append(left[:size])
                left, turn = left[size:], turn + 1
            await feed(lane, batches)
            assert memory.failures == []
        return memory

    return asyncio.run(all_of_it())


keys = st.sampled_from(["a", "b", "c", "dd", "e"])
#: What comes next: seconds later, a trigger or resolve of a key, or marks of one or both feeders.
steps = st.tuples(
    st.integers(0, 200),
    st.one_of(
        st.tuples(st.just("t"), keys),
        st.tuples(st.just("r"), keys),
        st.tuples(st.just("m"), st.sampled_from([*FEEDERS, "both"])),
    ),
)


def log_of(plan: Sequence[tuple[int, tuple[str, str]]]) -> list[Fetched]:
    """The log that these steps write; at its end both feeders mark a time when all is over."""
    log: list[Fetched] = []
    second = 0
    for later, (what, name) in [*plan, (1_000_000, ("m", "both"))]:
        second += later
        if what == "m":
            for feeder in FEEDERS if name == "both" else [name]:
                log.append(told(len(log), second, feeder, second - 1))
        else:
            log.append(record(len(log), second, name, what.encode()))
    return log


@settings(deadline=None, max_examples=60)
@given(
    st.lists(steps, max_size=40),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.lists(st.integers(0, 12), max_size=6),
    st.booleans(),
)
def test_every_cut_and_kill_gives_the_same_decisions(
    plan: list[tuple[int, tuple[str, str]]], cuts: list[int], kills: list[int], fed: bool
) -> None:
    """Any batches, and kills between any two answers of the broker: byte-equal decisions, with feeders and without."""
    log, feeders = log_of(plan), FEEDERS if fed else ()
    if not fed:
        log = [each if each.key else each._replace(key=b"other", value=b"r", headers=()) for each in log]
    whole = decisions(run(log, feeders=feeders))
    assert decisions(run(log, cuts, feeders=feeders)) == whole
    assert decisions(run(log, [1], feeders=feeders)) == whole
    assert decisions(run(log, cuts, kills, feeders)) == whole


@pytest.mark.parametrize(("resolve", "expected"), [(299, b"transient"), (301, b"open 0")])
@pytest.mark.parametrize("cuts", [(), (1,), (2,), (3,)])
def test_a_hold_of_300_s_over_an_outage_of_ours(resolve: int, expected: bytes, cuts: Sequence[int]) -> None:
    """Triggered at 0, resolved at 299 or 301, and normalize away from 298 to 900: what counts is when that came in."""
    log = [record(0, 0, "a", b"t"), told(1, 297, FEEDERS[0], 297), told(2, 297, FEEDERS[1], 297)]
    # Normalize comes back; one feeder has caught up at once, the other has the resolve in its backlog.
    log += [told(3, 900, FEEDERS[0], 900), told(4, 900, FEEDERS[1], min(resolve, 300))]
    log += [record(5, 900, "a", b"r"), told(6, 901, FEEDERS[1], 901)]
    assert decisions(run(log, cuts))[0] == (b"a", expected)


def test_a_frozen_feeder_delays_deadlines_and_changes_none() -> None:
    """While one feeder says nothing, nothing fires; then all fire in order, and as if it had never been away."""
    opened = [record(number, number, key, b"t") for number, key in enumerate("abc")]
    on_time = [*opened]
    for second in range(100, 1_000, 100):
        on_time += [told(len(on_time), second, FEEDERS[0], second)]
        on_time += [told(len(on_time), second, FEEDERS[1], second)]
    frozen = [*opened, told(3, 3, FEEDERS[1], 3)]
    for second in range(100, 1_000, 100):
        frozen += [told(len(frozen), second, FEEDERS[0], second)]
    assert decisions(run(frozen)) == []
    thawed = [*frozen, told(len(frozen), 1_000, FEEDERS[1], 900)]
    assert decisions(run(thawed)) == decisions(run(on_time)) != []


def test_nothing_fires_before_every_feeder_has_said_a_time() -> None:
    """Neither records nor the marks of one feeder, nor marks of strangers, move time."""
    log = [record(0, 0, "a", b"t"), told(1, 9_000, FEEDERS[0], 9_000), told(2, 9_000, "raw/7", 9_000)]
    assert decisions(run([*log, record(3, 9_000, "b", b"t"), told(4, 9_000, FEEDERS[1], 0)])) == []
    assert decisions(run([*log, told(3, 9_000, FEEDERS[1], 300)])) == [(b"a", b"open 0")]


@pytest.mark.parametrize("step", [3_600, -3_600])
def test_the_brokers_clock_may_be_set(step: int) -> None:
    """Set an hour forward and right again, or back: a minute later deadlines fire by the clock as it is then."""
    log = [told(0, 0, FEEDERS[0], 0), told(1, 0, FEEDERS[1], 0)]
    log += [told(2, step, FEEDERS[0], step), told(3, step, FEEDERS[1], step)]
    right = 0 if step > 0 else step
    log += [record(4, right, "a", b"t")]
    for second in range(10, 700, 10):
        log += [told(len(log), right + second, feeder, right + second) for feeder in FEEDERS]
        fired = [value for _, value in decisions(run(log))]
        if second < 300:
            assert fired == [], second
        elif second >= 370:
            assert fired[0] == b"open 0", second
            break


def test_clocks_of_ours_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wall clock an hour wrong, either way, decisions are byte-equal."""
    log = log_of([(1, ("t", "a")), (400, ("m", "both")), (1, ("t", "b")), (90, ("m", "both")), (50, ("r", "b"))])
    right = decisions(run(log, [2]))
    for wrong in (time.time() + 3_600, time.time() - 3_600):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
        assert decisions(run(log, [2])) == right


class Poison(Holds):
    """Holds whose key `p` cannot fire."""

    def on_due(self, state: Any, due: Sequence[tuple[bytes, int]], now: int) -> list[Any]:
        """Fail for `p`, after the others of its call have changed state."""
        outputs = super().on_due(state, due, now)
        if any(key == b"p" for key, _ in due):
            raise ValueError("poison")
        return outputs


async def _poisoned(log: Sequence[Fetched]) -> Memory:
    memory = Memory()
    lane = memory.open(Poison(), SPEC)
    await feed(lane, [[each] for each in log])
    assert memory.failures == []
    return memory


async def test_a_deadline_that_fails_is_tried_alone_and_then_given_up() -> None:
    """Its pauses grow; the fifth failure is a dead letter; keys of the same moment and records are not touched."""
    log = [record(0, 0, "o", b"t"), record(1, 0, "p", b"t"), record(2, 0, "q", b"t")]
    log += [record(number, 297 + number, f"r{number}", b"t") for number in range(3, 100)]
    memory = await _poisoned(log)
    letters = [item for topic, item in memory.outputs if topic == DEAD]
    assert [(key, value) for key, value, _ in letters] == [(b"p".hex().encode(), b"ValueError('poison')")]
    first = [key for topic, (key, value, _) in memory.outputs if topic == OUTPUT and value == b"open 0"]
    assert first == [b"o", b"q"]
    # Tried at 300, 301, 305, 321 and 385 s: the letter comes with the record of that time, and not before.
    fewer = await _poisoned(log[:88])
    assert log[87].timestamp == START + 384_000
    assert not any(topic == DEAD for topic, _ in fewer.outputs)


class Many(Holds):
    """Notes how it was called."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.turns: list[int] = []
        self.turn = 0

    def on_due(self, state: Any, due: Sequence[tuple[bytes, int]], now: int) -> list[Any]:
        """Forget the keys."""
        self.calls.append(len(due))
        self.turns.append(self.turn)
        for key, _ in due:
            state.delete(key)
        return []


async def test_a_million_deadlines_at_once_fire_in_slices() -> None:
    """At most 1,000 keys between two turns of the event loop, all of them in order before the record behind them."""
    count = 100_000
    memory, stage = Memory(), Many()
    lane = memory.open(stage, SPEC)
    await feed(lane, [[record(number, 0, f"{number * 7919 % count:05d}", b"t") for number in range(count)]])
    lane.reserve(1)
    lane.receive([record(count, 300, "z", b"t")])
    while lane.committed < count:
        stage.turn += 1
        await asyncio.sleep(0)
    assert sum(stage.calls) == count
    assert max(stage.calls) <= FIRED_AT_ONCE
    assert max(stage.turns.count(turn) for turn in set(stage.turns)) * FIRED_AT_ONCE <= 1_000
    assert len(lane.table.state) == 1  # type: ignore[union-attr]


async def test_lanes_fire_in_turn() -> None:
    """Where all lanes of a worker have much to fire, one of them does in a turn of the event loop."""
    count, lanes = 20_000, 4
    fired: list[list[int]] = []

    class Shared(Many):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def on_due(self, state: Any, due: Sequence[tuple[bytes, int]], now: int) -> list[Any]:
            fired[-1].append(self.number)
            return super().on_due(state, due, now)

    turns, opened = Turns(), []
    for number in range(lanes):
        opened.append(Memory().open(Shared(number), SPEC, turns=turns))
        await feed(opened[-1], [[record(each, 0, f"{each:05d}", b"t") for each in range(count)]])
    fired.append([])
    for lane in opened:
        lane.reserve(1)
        lane.receive([record(count, 300, "z", b"t")])
    while any(lane.committed < count for lane in opened):
        fired.append([])
        await asyncio.sleep(0)
    # What a lane fires with the record it receives is little.
    assert max(fired[0].count(number) for number in range(lanes)) <= 1
    assert [turn for turn in fired[1:] if len(set(turn)) > 1] == []
    assert sum(map(len, fired)) == lanes * count // FIRED_AT_ONCE


async def test_turns_go_round() -> None:
    """Who asks again comes after all who wait; in a turn of the loop one is called, and none once nobody asks."""
    turns = Turns()
    called: list[list[str]] = []

    def caller(name: str, times: int) -> Callable[[], None]:
        def call() -> None:
            called[-1].append(name)
            if times > 1:
                turns.ask(caller(name, times - 1))

        return call

    for name, times in (("a", 3), ("b", 1), ("c", 2)):
        turns.ask(caller(name, times))
    for _ in range(8):
        called.append([])
        await asyncio.sleep(0)
    assert called == [["a"], ["b"], ["c"], ["a"], ["c"], ["a"], [], []]
    turns.ask(caller("d", 1))
    called.append([])
    await asyncio.sleep(0)
    assert called[-1] == ["d"]


async def test_a_firing_goes_on_without_a_record() -> None:
    """Who takes a partition over in the middle of a firing fires the rest, although every record was processed."""
    count, memory = 1_000, Memory()
    killed = memory.open(Many(), SPEC, FEEDERS)
    await feed(killed, [[record(number, 0, f"{number:04d}", b"t") for number in range(count)]])
    # The broker takes the first commit of the firing, and nothing after it.
    memory.calls_left = 2
    marks = [told(count + number, 301, feeder, 301) for number, feeder in enumerate(FEEDERS)]
    killed.reserve(len(marks))
    killed.receive(marks)
    await memory.silent.wait()
    await killed.close(0)
    memory.calls_left = 1_000_000
    lane = memory.open(Many(), SPEC, FEEDERS)
    assert lane.processed == marks[-1].offset
    assert lane.table is not None
    assert 0 < len(lane.table.state) < count
    while not lane.idle:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert len(lane.table.state) == 0


def test_a_mark_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    """Any other header, or none, is no mark; digits that are none say nothing."""
    _, value, headers = mark("alerts.raw/3", START)
    assert read_mark(Fetched(0, 0, None, value, headers)) == ("alerts.raw/3", START)
    assert read_mark(Fetched(0, 0, None, b"x", headers)) == ("alerts.raw/3", 0)
    assert read_mark(Fetched(0, 0, b"k", b"x", (("reply", b"x"),))) is None


def test_a_clock_believes_nothing_far_past_the_brokers() -> None:
    """A mark from the year 3000 moves time a minute at most, and the next right one counts again."""
    clock = Clock()
    clock.expect(["f"])
    clock.mark("f", 32_503_680_000_000, START)
    assert clock.now == START + FAR_MS
    clock.mark("f", START + FAR_MS + 5, START + FAR_MS + 5)
    assert (clock.now, clock.marks["f"]) == (START + FAR_MS + 5, START + FAR_MS + 5)


def test_the_brokers_present_time_is_estimated_low_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with the monotonic clock from the last acknowledgement, for a minute; before one it is unknown."""
    moment = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    broker = BrokerTime()
    assert broker.by(moment) == 0
    broker.saw(START)
    assert broker.by(moment + 2) == START + 2_000 - MARGIN_MS
    assert broker.by(moment + 61) == 0


async def test_an_idle_lane_without_feeders_goes_on_with_the_brokers_time() -> None:
    """It fires what is due by then, and marks that time downstream, once nothing is on its way to it."""
    memory = Memory()
    lane = memory.open(Holds(), SPEC, feeds=[OUTPUT])
    await feed(lane, [[record(0, 0, "a", b"t")]])
    moment = time.monotonic()
    memory.time.saw(START + HOLD_MS + MARGIN_MS)
    lane.reserve(1)
    lane.caught_up(moment + 1)
    assert lane.clock.now == START
    lane.receive([record(1, 5, "b", b"t")])
    lane.caught_up(moment + 1)
    lane.tell_time(idle=False)
    while not (lane.idle and lane.committed == 1):  # noqa: ASYNC110
        await asyncio.sleep(0)
    (opened, marked) = [item for _, item in memory.outputs]
    assert opened[:2] == (b"a", b"open 0")
    assert marked[2] == (("mark", f"{SOURCE}/0".encode()),)
    assert START + HOLD_MS <= int(marked[1] or b"") <= START + HOLD_MS + 1_000
