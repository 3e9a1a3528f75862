"""Remembers requests whose signature covers a time, so that they cannot be replayed.

Each gateway process has its own memory: a replay at another process is stopped only by the window of the signed time,
and dedup treats it as a repeat of a known alert.
"""

from asyncio import Future

from streams.policy.signature import TIMESTAMP_WINDOW_S

#: A signed time may be ahead of our clock by the window, and is valid for another window after that.
MEMORY_S = 2 * TIMESTAMP_WINDOW_S
#: Marks of one generation, about 20 MB. With more marks, the memory is shorter than MEMORY_S.
GENERATION = 200_000


class Replays:
    """Marks of accepted requests in two generations, each of MEMORY_S or GENERATION marks."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, mark: bytes) -> bool:
        return mark in self._young or mark in self._old

    def remember(self, mark: bytes, stored: Future[None], now: float) -> None:
        """Keep the mark of a request. If `stored` fails, the mark is dropped, because the sender repeats the request.

        `now` is monotonic, in seconds.
        """
        if now - self._since > MEMORY_S or len(self._young) >= GENERATION:
            # Marks that are two generations old are dropped together, not one by one.
            self._old = self._young if now - self._since <= 2 * MEMORY_S else set()
            self._young, self._since = set(), now
        self._young.add(mark)
        stored.add_done_callback(lambda done: self._forget_failed(mark, done))

    def _forget_failed(self, mark: bytes, done: Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._young.discard(mark)
            self._old.discard(mark)
