"""When a key's alerts count: only after a time, after enough of them, or not while the key flaps; and when it ends.

A Course is what a key remembers of that. Times are those at which alerts were received, milliseconds since 1970 UTC.
"""

from bisect import insort

import msgspec

from schemas.control.life import Flapping, Life, Threshold

#: Settings of a key that has no life of its own.
NO_LIFE = Life()


class Course(msgspec.Struct, array_like=True, gc=False):
    """`times` are the newest alerts that a threshold counts. `flips` are the newest changes of the key's state.

    The key flaps until it was stable for `quiet` seconds; `is_open` is its state meanwhile, which nobody is told. It
    ends by itself after `silence` seconds without an alert. 0 means that it does not.
    """

    times: list[int] = []
    flips: list[int] = []
    quiet: int = 0
    is_open: bool = True
    silence: int = 0

    def due(self, last_seen: int) -> int:
        """When the time ends its flapping, or the key; 0 for never."""
        ends = last_seen + self.silence * 1000 if self.silence else 0
        calms = self.flips[-1] + self.quiet * 1000 if self.quiet and self.flips else 0
        return min(filter(None, (ends, calms)), default=0)


def merged(over: Life, under: Life) -> Life:
    """The settings of `over`, and those of `under` that it leaves open."""
    own = {name: value for name, value in over if value is not None}
    return under.model_copy(update=own) if own else under


def reached(course: Course, threshold: Threshold, at: int) -> bool:
    """Count one more alert; whether enough came within the time. A straggler counts where it belongs in time."""
    insort(course.times, at)
    del course.times[: -threshold.count]
    return len(course.times) == threshold.count and course.times[-1] - course.times[0] <= threshold.within * 1000


def turn(course: Course, flapping: Flapping, at: int) -> bool:
    """Note a change of the key's state; whether it flaps."""
    course.flips = [*course.flips, at][-flapping.changes :]
    flips = course.flips
    return len(flips) == flapping.changes and flips[-1] - flips[0] <= flapping.within * 1000
