"""Times that repeat by the clocks of a zone: an RFC 5545 rule of dates, a local time, a duration."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise, takewhile
from typing import Annotated

from dateutil.rrule import rrulestr
from pydantic import AfterValidator, Field

from schemas.control.quiet import Zone
from schemas.control.record import Record

WEEK_S = 7 * 86_400

_DAY = "(?:MO|TU|WE|TH|FR|SA|SU)"
_MONTHDAY = "[+-]?(?:[1-9]|[12][0-9]|3[01])"
_INTERVAL = {"INTERVAL": "[1-9][0-9]?"}
_BY_DAY = {"BYDAY": f"{_DAY}(?:,{_DAY}){{0,6}}"}
#: Which parts a rule may have, by its FREQ. RFC 5545, section 3.3.10. Without COUNT and UNTIL: `ends_at` is the end.
#: Without parts of times: `start` is the time. Without WKST: weeks begin on Monday.
_PARTS: dict[str, dict[str, str]] = {
    "DAILY": _INTERVAL | _BY_DAY,
    "WEEKLY": _INTERVAL | _BY_DAY,
    "MONTHLY": _INTERVAL
    | {
        "BYDAY": f"(?:[+-]?[1-5])?{_DAY}(?:,(?:[+-]?[1-5])?{_DAY}){{0,19}}",
        "BYMONTHDAY": f"{_MONTHDAY}(?:,{_MONTHDAY}){{0,30}}",
        "BYMONTH": "(?:[1-9]|1[0-2])(?:,(?:[1-9]|1[0-2])){0,11}",
        "BYSETPOS": f"{_MONTHDAY}(?:,{_MONTHDAY}){{0,9}}",
    },
}


def parts_of(rule: str) -> dict[str, str]:
    """The parts of an RRULE by name. Raises ValueError for a rule that is not one of the allowed ones.

    >>> parts_of("FREQ=WEEKLY;BYDAY=SA,SU")
    {'FREQ': 'WEEKLY', 'BYDAY': 'SA,SU'}
    """
    pairs = [part.partition("=") for part in rule.split(";")]
    parts = {name: value for name, _, value in pairs}
    if len(parts) != len(pairs):
        raise ValueError("names a part twice")
    allowed = _PARTS.get(parts.get("FREQ", ""))
    if allowed is None:
        raise ValueError(f"needs FREQ={' or '.join(_PARTS)}, as in FREQ=WEEKLY;BYDAY=SA,SU")
    for name, value in parts.items():
        if name != "FREQ" and name not in allowed:
            raise ValueError(f"{name[:20]!r} is not possible with FREQ={parts['FREQ']}: only {', '.join(allowed)}")
        if name != "FREQ" and not re.fullmatch(allowed[name], value):
            raise ValueError(f"{name}={value[:40]!r} is not one of RFC 5545")
    if parts["FREQ"] == "WEEKLY" and "BYDAY" not in parts:
        raise ValueError("FREQ=WEEKLY needs BYDAY, as in BYDAY=SA,SU")
    if parts["FREQ"] == "MONTHLY" and not parts.keys() & {"BYDAY", "BYMONTHDAY"}:
        raise ValueError("FREQ=MONTHLY needs BYDAY or BYMONTHDAY, as in BYDAY=2TU or BYMONTHDAY=-1")
    return parts


def _rule(rule: str) -> str:
    parts_of(rule)
    return rule


class Recurrence(Record):
    """`rrule` says on which dates it begins (RFC 5545, without DTSTART), `start` at which time by the clocks of `zone`.

    `duration` is seconds by the same clocks: 22:00 and 8 hours end at 06:00 in every night of the year. An INTERVAL is
    counted from the anchor: the day, the week (from Monday) or the month in which everything begins.
    """

    rrule: Annotated[str, Field(max_length=200), AfterValidator(_rule)]
    zone: Zone
    start: str = Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    duration: int = Field(ge=60, le=31 * 86_400)

    @cached_property
    def at(self) -> time:
        """The local time of each beginning."""
        return time.fromisoformat(self.start)

    def dates(self, anchor: date, first: date, last: date) -> Iterator[date]:
        """The dates from `first` to `last` on which it begins; the anchor is the date when everything began.

        It takes no longer for an anchor long ago: the rule is started again at the period that holds `first`.
        """
        begin = _period(parts_of(self.rrule), anchor, max(first, anchor))
        found = rrulestr(self.rrule, dtstart=datetime.combine(begin, time())).xafter(
            datetime.combine(max(first, anchor), time()), inc=True
        )
        return takewhile(lambda day: day <= last, (each.date() for each in found))

    def overlaps(self, anchor: date) -> bool:
        """Whether one occurrence lasts longer than until the next begins, in the four years after the anchor."""
        days = self.dates(anchor, anchor, anchor + timedelta(days=4 * 366))
        gaps = (later - earlier for earlier, later in pairwise(days))
        return any(timedelta(seconds=self.duration) > gap for gap in gaps)


def _period(parts: dict[str, str], anchor: date, first: date) -> date:
    """The beginning of the last period of the rule that begins on or before `first`."""
    interval = int(parts.get("INTERVAL", "1"))
    match parts["FREQ"]:
        case "DAILY":
            return first - timedelta(days=(first - anchor).days % interval)
        case "WEEKLY":
            monday = anchor - timedelta(days=anchor.weekday())
            return first - timedelta(days=(first - monday).days % (7 * interval))
        case _:
            months = (first.year - anchor.year) * 12 + first.month - anchor.month
            back = first.year * 12 + first.month - 1 - months % interval
            return date(back // 12, back % 12 + 1, 1)
