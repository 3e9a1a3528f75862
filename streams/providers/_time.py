"""Times as senders write them."""

import re
from datetime import UTC, datetime

#: 2200-01-01, earlier than the latest time of ClickHouse's DateTime64. Vendors use later times for "never".
_LATEST_MS = 7_258_118_400_000
#: Numbers from here on are milliseconds (1973 onwards), smaller ones seconds (up to the year 5138).
_FIRST_MS = 100_000_000_000
#: A Unix time in seconds or milliseconds, written as text; a date without separators has eight digits.
_NUMBER = re.compile(r"\d{9,13}(?:\.\d{1,9})?", re.ASCII)


def epoch_ms(value: object) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 text or a Unix time (number or text); 0 for anything else.

    A text without an offset is UTC, as is one that ends in " UTC" (GitLab) or in both kinds of offset (PagerDuty's
    Python client). Senders use years before 1970 for "not yet", and years from 2200 on for "never"; both are 0 as well.

    >>> epoch_ms("2026-11-06T08:42:58.315+0000"), epoch_ms("1793954578"), epoch_ms("0001-01-01T00:00:00Z")
    (1793954578315, 1793954578000, 0)
    """
    try:
        if isinstance(value, str):
            value = value.strip().removesuffix(" UTC")
            if value.endswith("+00:00Z"):
                value = value[:-1]
            if _NUMBER.fullmatch(value):
                return epoch_ms(float(value))
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            milliseconds = round(moment.timestamp() * 1000)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            milliseconds = round(value if value >= _FIRST_MS else value * 1000)
        else:
            return 0
    except (ValueError, OverflowError):
        return 0
    return milliseconds if 0 < milliseconds <= _LATEST_MS else 0
