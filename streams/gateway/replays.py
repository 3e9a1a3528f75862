"""Requests whose signature covers a time, remembered, so that nobody can play one again.

Each gateway process has its own memory: a replay at another process is stopped by the window of the signed
time alone, and is a repeat of a known alert for dedup.
"""

from asyncio import Future

from streams.policy.signature import TIMESTAMP_WINDOW_S

#: A signed time may lie ahead of ours by the window, and is good for another one after that.
MEMORY_S = 2 * TIMESTAMP_WINDOW_S
#: Marks of one generation, about 20 MB. Beyond that the memory is shorter than MEMORY_S.
GENERATION = 200_000


class Replays:
    """Marks of accepted requests, in two generations, each of MEMORY_S or GENERATION marks."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, mark: bytes) -> bool:
        return mark in self._young or mark in self._old

    def remember(self, mark: bytes, stored: Future[None], now: float) -> None:
        """Keep the mark of a request, unless it turns out that it could not be `stored`: its sender repeats it.

        `now` is monotonic, in seconds.
        """
        if now - self._since > MEMORY_S or len(self._young) >= GENERATION:
            # What is two generations old goes at once, and nothing goes one by one.
            self._old = self._young if now - self._since <= 2 * MEMORY_S else set()
            self._young, self._since = set(), now
        self._young.add(mark)
        stored.add_done_callback(lambda done: self._forget_failed(mark, done))

    def _forget_failed(self, mark: bytes, done: Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._young.discard(mark)
            self._old.discard(mark)
