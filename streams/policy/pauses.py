"""Hours without maintenance: the clocks of targets stand still while people work on a service (streams.policy.sla)."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from schemas.control import Period
from streams.policy.recurrence import Span, local_of, occurrences
from streams.policy.sla import BusinessHours, Calendars


class Worked:
    """The hours of a calendar, None for all hours, without those of some periods. Implements BusinessHours."""

    def __init__(self, hours: BusinessHours | None, periods: Sequence[Period]) -> None:
        self._hours = hours
        self._periods = periods

    def business_ms(self, start_ms: int, end_ms: int) -> int:
        """How many milliseconds between two instants count."""
        total, at = 0, start_ms
        for span in self._spans(start_ms, end_ms):
            total += self._counted(at, min(span.begin, end_ms))
            at = max(at, span.end)
        return total + self._counted(at, end_ms)

    def add_business(self, start_ms: int, duration_ms: int) -> int:
        """When so many milliseconds that count are over."""
        at, left = start_ms, duration_ms
        while True:
            end = at + left if self._hours is None else self._hours.add_business(at, left)
            span = next((span for span in self._spans(at, end) if span.end > at), None)
            if span is None or span.begin >= end:
                return end
            left -= self._counted(at, span.begin)
            at = max(at, span.end)

    def _counted(self, start_ms: int, end_ms: int) -> int:
        if end_ms <= start_ms:
            return 0
        return end_ms - start_ms if self._hours is None else self._hours.business_ms(start_ms, end_ms)

    def _spans(self, start_ms: int, end_ms: int) -> list[Span]:
        """The times of the periods that begin before the one instant and end after the other, by their beginnings."""
        spans = (span for period in self._periods for span in _spans(period, start_ms, end_ms))
        return sorted(span for span in spans if span.begin < end_ms and span.end > start_ms)


class Clocks:
    """The calendars of a tenant as a service in some maintenance has them. Implements Calendars."""

    def __init__(self, calendars: Calendars, periods: Sequence[Period]) -> None:
        self._calendars = calendars
        self._periods = periods

    def get(self, place: tuple[str, str], /) -> BusinessHours:
        """The hours of a calendar, all hours if it does not exist, without maintenance."""
        return Worked(self._calendars.get(place), self._periods)


def _spans(period: Period, start_ms: int, end_ms: int) -> Iterator[Span]:
    if period.recurrence is None:
        yield Span(period.starts_ms, period.ends_ms)
        return
    zone = ZoneInfo(period.recurrence.zone)
    back = timedelta(seconds=period.recurrence.duration, days=2)
    first = local_of(max(start_ms, period.starts_ms), zone).date() - back
    last = local_of(min(end_ms, period.ends_ms), zone).date() + timedelta(days=1)
    for span in occurrences(period.recurrence, period.anchor, first, last):
        if period.starts_ms <= span.begin < period.ends_ms:
            yield Span(span.begin, min(span.end, period.ends_ms))
