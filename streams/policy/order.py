"""Which of two events of one alert counts, when they may have arrived in the wrong order.

Times are compared only with times of the same kind from the same sender, because no two clocks agree; only an equal
start counts whoever sends it. If nothing can be compared, the order of arrival counts, so that in doubt a trigger opens
and a resolve resolves.
"""

from enum import Enum
from typing import NamedTuple


class Times(NamedTuple):
    """The times of an event by its sender's clock, in milliseconds, 0 for none (see schemas.wire.alert.Alert).

    `sender` is a number that tells senders apart.
    """

    sender: int
    sent_at: int
    began_at: int
    ended_at: int


class Verdict(Enum):
    """The effect of a trigger that arrives after its key was resolved."""

    OPENS = 1
    #: It repeats an alert that is over, or one that began again: only waiting shows which.
    HELD = 2
    #: It was sent before the resolve.
    STALE = 3


def after_resolve(trigger: Times, resolve: Times, *, matched: bool, within_hold: bool) -> Verdict:
    """The verdict on a trigger after a resolve.

    `matched` says whether the resolve ended an open alert; a resolve that did not has overtaken its own trigger.
    `within_hold` says whether the trigger came so soon after the resolve that it may be a straggler: for some seconds,
    senders in a cluster repeat an alert that another sender of the cluster has resolved.
    """
    straggler = (Verdict.HELD if matched else Verdict.STALE) if within_hold else Verdict.OPENS
    # Equal starts compare no clocks: members of a cluster pass on the start that they received.
    if trigger.began_at and trigger.began_at == resolve.began_at:
        return straggler
    if trigger.sender != resolve.sender:
        return Verdict.OPENS
    if trigger.sent_at and resolve.sent_at:
        return Verdict.STALE if trigger.sent_at < resolve.sent_at else Verdict.OPENS
    if trigger.began_at and resolve.ended_at and trigger.began_at <= resolve.ended_at:
        return straggler
    return Verdict.OPENS


def is_stale_resolve(resolve: Times, trigger: Times) -> bool:
    """Whether a resolve was sent before the newest trigger of its key, and so does not end it."""
    if trigger.sender != resolve.sender or (resolve.began_at and resolve.began_at == trigger.began_at):
        return False
    if resolve.sent_at and trigger.sent_at:
        return resolve.sent_at < trigger.sent_at
    return 0 < resolve.ended_at < trigger.began_at
