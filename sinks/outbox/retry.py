"""When a failed attempt is made again."""

from schemas.fingerprint import digest
from sinks.contract import Retry

#: The longest pause that a vendor can ask for.
MAX_RETRY_AFTER_S = 3_600.0


def next_at(
    policy: Retry, message_id: bytes, attempts: int, now: int, wait_s: float | None, deadline: int
) -> int | None:
    """The time of the next attempt after `attempts` failed ones, milliseconds; None when none is left.

    `wait_s` is what the vendor asked for. The factor is derived from the id, so that the retries of a storm spread out
    and tests can predict them.
    """
    if attempts >= policy.attempts:
        return None
    least, most = policy.spread
    drawn = int.from_bytes(digest(message_id.hex(), str(attempts))[:4], "big") / 2**32
    pause = min(policy.base_s * 2.0 ** min(attempts - 1, 40), policy.most_s) * (least + (most - least) * drawn)
    at = now + round(1000 * max(pause, min(wait_s or 0.0, MAX_RETRY_AFTER_S)))
    return at if at <= deadline else None
