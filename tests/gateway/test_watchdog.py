"""The watchdog ends a process that hangs, and no other."""

import threading
import time

from streams.gateway.watchdog import Watchdog


def test_what_is_pending_too_long_ends_the_process() -> None:
    """It acts once something has been pending for longer than the limit."""
    ended = threading.Event()
    since = time.monotonic()
    watchdog = Watchdog(lambda: since, limit=0.2, end=ended.set)
    watchdog.start()
    assert ended.wait(5)
    assert time.monotonic() - since >= 0.2
    watchdog.join(5)
    assert not watchdog.is_alive()


def test_progress_and_idleness_are_left_alone() -> None:
    """Nothing pending, or always something new: the watchdog keeps looking and does nothing."""
    ended = threading.Event()
    looks: list[float | None] = []

    def pending_since() -> float | None:
        looks.append(None if len(looks) % 2 else time.monotonic())
        return looks[-1]

    watchdog = Watchdog(pending_since, limit=0.05, end=ended.set)
    watchdog.start()
    deadline = time.monotonic() + 10
    while len(looks) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    watchdog.stop()
    watchdog.join(5)
    assert not ended.is_set()
