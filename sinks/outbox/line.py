"""The order in which the messages of one destination go: what is urgent first, then by the time of arrival."""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from sinks.outbox.table import Front

#: Two facts about a waiting incident in one number, as hundreds of thousands may wait: when its first message was
#: queued, times 2, plus 1 for urgent.
_URGENT = 1


class Line:
    """The incidents that wait. One that is under way stays known, and is lined up again or dropped at its end.

    Entries of incidents that were dropped meanwhile stay in the queues until their turn.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._urgent: deque[bytes] = deque()
        self._normal: deque[bytes] = deque()
        self._later: list[tuple[int, bytes]] = []
        self.under_way: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def oldest(self) -> int:
        """When about the first message that waits was queued, milliseconds; 0 if nothing waits."""
        return next(iter(self._known.values())) >> 1 if self._known else 0

    def since(self, incident: bytes) -> tuple[int, bool]:
        """When the incident's first message was queued, and whether it is urgent."""
        known = self._known[incident]
        return known >> 1, bool(known & _URGENT)

    def put(self, incident: bytes, at: Front, now: int) -> None:
        """Line the incident up, unless it is lined up as well already."""
        known = self._known.get(incident)
        if known is not None and (known & _URGENT or not at.urgent):
            return
        self._known[incident] = at.since << 1 | at.urgent
        if incident not in self.under_way:
            self._queue(incident, at, now)

    def drop(self, incident: bytes) -> None:
        """Nothing waits there any more."""
        self._known.pop(incident, None)

    def free(self, incident: bytes, at: Front | None, now: int) -> None:
        """The incident is no longer under way; `at` says what waits there now."""
        self.under_way.discard(incident)
        if at is not None:
            self._known[incident] = at.since << 1 | at.urgent
            self._queue(incident, at, now)

    def queue(self, now: int) -> deque[bytes] | None:
        """The queue whose first incident is next; None if nothing can go now."""
        while self._later and self._later[0][0] <= now:
            _, incident = heappop(self._later)
            if incident in self._known:
                (self._urgent if self._known[incident] & _URGENT else self._normal).append(incident)
        for queue in (self._urgent, self._normal):
            while queue:
                if self.waits(queue[0]):
                    return queue
                queue.popleft()
        return None

    def waits(self, incident: bytes) -> bool:
        """Whether something waits there and is not under way."""
        return incident in self._known and incident not in self.under_way

    def take(self, queue: deque[bytes]) -> bytes:
        """Take the first of the queue: it is under way from now on."""
        incident = queue.popleft()
        self.under_way.add(incident)
        return incident

    def until_next(self, now: int) -> int | None:
        """Milliseconds until a message that is to be tried again may go; None if there is none."""
        return max(1, self._later[0][0] - now) if self._later else None

    def ahead(self) -> Iterator[bytes]:
        """All that may go now, in order."""
        for queue in (self._urgent, self._normal):
            yield from (incident for incident in queue if self.waits(incident))

    def _queue(self, incident: bytes, at: Front, now: int) -> None:
        if at.next_at > now:
            heappush(self._later, (at.next_at, incident))
        else:
            (self._urgent if at.urgent else self._normal).append(incident)
