"""A time for which something is muted: what silences and maintenance have in common."""

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name
from schemas.control.recurrence import Recurrence
from schemas.fingerprint import digest

#: Nothing is muted for longer than this without somebody looking at it again.
MAX_DAYS = 5 * 366
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(2000, 2200)


def _moment(value: object) -> object:
    """The value if it may be a date and time; pydantic would take numbers for seconds. Raises ValueError."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value.upper() else value
    except ValueError:
        at = None
    if not isinstance(at, datetime) or at.tzinfo is None or at.year not in _YEARS:
        raise ValueError("is no date and time with a zone of RFC 3339, as 2026-12-01T22:00:00+01:00")
    return at


#: An instant, as RFC 3339 writes it: always with its offset from UTC.
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


def ms_of(at: datetime) -> int:
    """An instant in milliseconds since 1970 UTC."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


class Period(AnyRecord):
    """From `starts_at` to `ends_at`, which is not part of it; with `recurrence` only its occurrences between the two.

    An occurrence must begin in that time, and is cut at its end. `author` and `reason` say who to ask, and why.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    starts_at: Moment
    ends_at: Moment
    recurrence: Recurrence | None = None
    author: str = Field(min_length=1, max_length=200, pattern=r"\S")
    reason: str = Field(min_length=1, max_length=1000, pattern=r"\S")

    @model_validator(mode="after")
    def _lasts(self) -> "Period":
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at is not after starts_at")
        if self.ends_at - self.starts_at > timedelta(days=MAX_DAYS):
            raise ValueError(f"lasts longer than {MAX_DAYS} days: nothing is muted for so long without a second look")
        if self.recurrence is not None:
            last = self.ends_at.astimezone(ZoneInfo(self.recurrence.zone)).date()
            if next(self.recurrence.dates(self.anchor, self.anchor, last), None) is None:
                raise ValueError("the recurrence has no date between starts_at and ends_at")
        return self

    @cached_property
    def anchor(self) -> date:
        """The local date of `starts_at`, from which a recurrence counts its intervals."""
        zone = UTC if self.recurrence is None else ZoneInfo(self.recurrence.zone)
        return self.starts_at.astimezone(zone).date()

    @cached_property
    def starts_ms(self) -> int:
        """`starts_at` in milliseconds since 1970 UTC."""
        return ms_of(self.starts_at)

    @cached_property
    def ends_ms(self) -> int:
        """`ends_at` in milliseconds since 1970 UTC."""
        return ms_of(self.ends_at)

    @cached_property
    def stamp(self) -> bytes:
        """16 bytes that differ for any other content."""
        return digest(self.model_dump_json())
