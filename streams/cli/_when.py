"""Times as commands take and show them."""

import re
import time
from datetime import UTC, datetime, timedelta

from schemas.control.period import ms_of
from streams.process.errors import OperatorError

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def moment(option: str, text: str) -> int:
    """A time in milliseconds since 1970 UTC: so long ago (`90s`, `15m`, `2h`, `7d`), or a date and time of ISO 8601.

    A time without a zone is UTC. Raises OperatorError that names the option.
    """
    if (ago := re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())) is not None:
        return max(0, time.time_ns() // 1_000_000 - int(ago[1]) * _UNITS[ago[2]] * 1000)
    try:
        return max(0, ms_of(_time(text)))
    except ValueError:
        raise OperatorError(f"{option}: so long ago as 15m, 2h or 7d, or a time as 2026-11-26T13:00Z") from None


def instant(option: str, text: str) -> datetime:
    """A date and time of ISO 8601; without a zone it is UTC. Raises OperatorError that names the option."""
    try:
        return _time(text)
    except ValueError:
        raise OperatorError(f"{option}: a time is needed, as 2026-11-26T13:00Z") from None


def length(option: str, text: str) -> timedelta:
    """A duration (`90s`, `15m`, `2h`, `7d`). Raises OperatorError that names the option."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text.strip())
    if found is None:
        raise OperatorError(f"{option}: a duration is needed, as 90s, 15m, 2h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text.strip())
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def shown(at_ms: int) -> str | None:
    """A time in UTC, None for 0."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds") if at_ms else None


def shown_ms(at_ms: int) -> str:
    """A time in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
