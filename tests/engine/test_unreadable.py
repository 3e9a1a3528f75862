"""When a partition is tried again, and when it is passed over."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import CorruptRecordException, RecordTooLargeError, TopicAuthorizationFailedError
from faust.types import TP

from streams.engine.fetch import fetch
from streams.engine.unreadable import TRIES, Troubles

PARTITION = TP("topic", 0)


def lane() -> Any:
    """What is told of the lane."""
    return SimpleNamespace(progress_at=0.0, ended=lambda task: task.result())


async def fail(troubles: Troubles, error: Exception, times: int, offset: int = 7) -> None:
    """As many failed fetches, and what follows at once."""
    for _ in range(times):
        troubles.failed(PARTITION, lane(), offset, error)
    await asyncio.sleep(0)


async def test_bytes_are_passed_over_after_the_last_try_and_the_next_in_a_row_at_once() -> None:
    """A batch that is read in between gives the next bad one all its tries again."""
    passed: list[int] = []

    async def pass_over(tp: TP, lane: Any, offset: int, error: Exception) -> None:
        passed.append(offset)

    troubles = Troubles(pass_over)
    await fail(troubles, CorruptRecordException(), TRIES - 1)
    assert passed == []
    assert troubles.resting() == {PARTITION}
    await fail(troubles, CorruptRecordException(), 1)
    assert passed == [7]
    await fail(troubles, CorruptRecordException(), 1, offset=8)
    assert passed == [7, 8]
    troubles.good(PARTITION)
    assert troubles.resting() == set()
    await fail(troubles, CorruptRecordException(), TRIES - 1, offset=9)
    assert passed == [7, 8]


async def test_a_partition_rests_until_it_is_passed_over() -> None:
    """While the dead letter is on its way nothing is fetched."""
    written = asyncio.Event()

    async def pass_over(tp: TP, lane: Any, offset: int, error: Exception) -> None:
        await written.wait()

    troubles = Troubles(pass_over)
    await fail(troubles, CorruptRecordException(), 1)
    troubles._troubles[PARTITION].not_before = 0.0
    assert troubles.resting() == set()
    await fail(troubles, CorruptRecordException(), TRIES - 1)
    troubles._troubles[PARTITION].not_before = 0.0
    assert troubles.resting() == {PARTITION}
    written.set()
    await asyncio.sleep(0.01)
    assert troubles.resting() == set()


async def test_a_missing_right_passes_over_nothing() -> None:
    """It may be given back; waiting for it is no standstill."""

    async def pass_over(tp: TP, lane: Any, offset: int, error: Exception) -> None:
        raise AssertionError("passed over")

    troubles, waiting = Troubles(pass_over), lane()
    for _ in range(3 * TRIES):
        troubles.failed(PARTITION, waiting, 7, TopicAuthorizationFailedError("topic"))
    await asyncio.sleep(0)
    assert troubles.resting() == {PARTITION}
    assert waiting.progress_at > 0


@pytest.mark.parametrize(("error", "position"), [(RecordTooLargeError(), 8), (TopicAuthorizationFailedError(), 7)])
async def test_an_error_of_the_fetch_itself_names_the_offset_and_moves_nothing(error: Exception, position: int) -> None:
    """aiokafka steps over the offset of a record that is too large for it, which nobody would hear of."""
    state = SimpleNamespace(position=position)
    state.seek = lambda offset: setattr(state, "position", offset)
    fetcher: Any = SimpleNamespace(
        _records={PARTITION: FetchError(error=error, backoff=0)},
        _wait_consume_future=None,
        _notify=lambda future: None,
        _subscriptions=SimpleNamespace(
            reassignment_in_progress=False,
            subscription=SimpleNamespace(assignment=SimpleNamespace(state_value=lambda tp: state)),
        ),
    )
    found = await fetch(fetcher, {PARTITION}, 0)
    assert found == {PARTITION: ([], 7, error)}
    assert state.position == 7
