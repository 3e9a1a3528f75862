"""The attendant of the intake: one courier for each destination of a partition, and what they tell of themselves."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import msgspec

from schemas import topics
from schemas.records import Output, State
from schemas.wire.notification import DestinationStatus
from sinks.outbox.courier import Courier, Services, Transact
from sinks.outbox.table import Place, Table, destination_key, front, waiting_place

#: Seconds between two reports of what waits for whom.
REPORT_S = 1.0
#: Entries that are lined up at once when a partition opens.
_PORTION = 500


class Outbox:
    """Keeps the couriers of one partition. `failing` gets an exception that should end the process."""

    def __init__(self, services: Services, failing: Callable[[BaseException], None]) -> None:
        self._services = services
        self._failing = failing
        self._couriers: dict[bytes, Courier] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._reported: dict[tuple[str, str], DestinationStatus] = {}

    def opened(self, state: State, transact: Transact) -> None:
        """Line up what waits, and go on from there."""
        self._state, self._transact = state, transact
        self._tasks = [asyncio.create_task(work, name="outbox") for work in (self._restore(), self._report())]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def changed(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Line up what was put, drop what was deleted."""
        moved: set[Courier] = set()
        for key, value in changes.items():
            place = waiting_place(key)
            if place is None:
                continue
            if value is None:
                if (courier := self._couriers.get(place.destination)) is not None:
                    courier.drop(place.incident)
                continue
            courier = self._courier(place)
            courier.line_up(place.incident, front(value))
            moved.add(courier)
        for courier in moved:
            courier.pump()

    async def close(self, patience: float) -> None:
        """Start nothing more; what is under way may end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(courier.close(patience) for courier in self._couriers.values()))

    async def _restore(self) -> None:
        places = list(Table(self._state).everything_waiting())
        places.sort(key=lambda found: found[1].since)
        for number, (place, at) in enumerate(places, 1):
            self._courier(place).line_up(place.incident, at)
            if number % _PORTION == 0:
                await asyncio.sleep(0)
        for courier in list(self._couriers.values()):
            courier.pump()

    def _courier(self, place: Place) -> Courier:
        found = self._couriers.get(place.destination)
        if found is None:
            waiting = Table(self._state).waiting(place)
            assert waiting is not None
            name = waiting.newest.tenant, waiting.newest.destination
            found = Courier(self._services, place.destination, name, self._state, self._transact, self._failing)
            self._couriers[place.destination] = found
        return found

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            now = {courier.name: courier.status() for courier in self._couriers.values()}
            news = {name: status for name, status in now.items() if self._reported.get(name) != status}
            if news:
                self._reported |= news
                await self._transact(partial(_reports, news))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failing(error)


def _reports(news: Mapping[tuple[str, str], DestinationStatus], state: State) -> Iterator[Output]:
    table = Table(state)
    for name, status in news.items():
        table.report(destination_key(*name), status)
        yield _record(name, status)


def _record(name: tuple[str, str], status: DestinationStatus) -> Output:
    return Output(topics.DESTINATIONS_STATUS.name, "/".join(name).encode(), msgspec.json.encode(status))
