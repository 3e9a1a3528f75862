"""How many requests a minute a sender and its tenant may make: token buckets, in this process only.

A bucket holds one minute's worth and refills continuously. It is kept as one number, the time at which it is
full again (the generic cell rate algorithm, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
"""

from math import ceil

from schemas.control import Tenant
from streams.gateway.senders import HeartbeatSender, Sender, rate_limit

#: Keys of buckets, and the requests a minute that each has.
Claims = tuple[tuple[str, int], ...]

MINUTE_S = 60.0
#: What the rounding of doubles may add or take away: less than a token of the highest rate.
_ROUNDING_S = 1e-6
_SWEEP_AT = 1024


class Buckets:
    """Token buckets by key. Full buckets are forgotten, so the buckets of deleted senders disappear too."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, claims: Claims, now: float) -> int:
        """0 if each bucket has a token, else the whole seconds until all have one if no token is taken meanwhile.

        `now` is monotonic, in seconds.
        """
        full_at = self._full_at
        wait = max(full_at.get(key, now) - now + MINUTE_S / rate - MINUTE_S for key, rate in claims)
        return ceil(wait - _ROUNDING_S) if wait > _ROUNDING_S else 0

    def take(self, claims: Claims, now: float) -> None:
        """Take a token from each bucket. An empty bucket goes into debt and stays empty for longer."""
        full_at = self._full_at
        for key, rate in claims:
            full_at[key] = max(full_at.get(key, now), now) + MINUTE_S / rate
        if len(full_at) >= self._sweep_at:
            self._full_at = {key: at for key, at in full_at.items() if at > now}
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._full_at))


def claims_of(sender: Sender, tenant: Tenant | None) -> Claims:
    """The limits of a sender: its own rate, and its tenant's rate over all senders; empty if both are unlimited.

    A heartbeat has its own rate only: a storm of its tenant's alerts must not make it look missing.
    """
    rate = rate_limit(sender)
    if tenant is None or tenant.rate_limit == "unlimited" or isinstance(sender, HeartbeatSender):
        return () if rate == "unlimited" else ((sender.id, rate),)
    quota = (f"tenant/{tenant.id}", tenant.rate_limit)
    return (quota,) if rate == "unlimited" else (quota, (sender.id, rate))
