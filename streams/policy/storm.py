"""Detects storms: openings above a rate.

The states are values that the caller keeps; nothing here is changed in place. Times are milliseconds since 1970 UTC, of
the openings themselves: a backlog that is caught up is no storm. An opening that is older than another one that was
counted has its own place in the window, or none: it never makes the window longer.
"""

import struct
from typing import NamedTuple

from schemas.control.storm import Storm

#: The window of a rate has this many cells of equal length, so a state has the same size at every rate.
CELLS = 60
#: On or off, the length of the window (s), the number of the newest cell, since when it is calm (ms), and the cells.
_RATE = struct.Struct(f">?Iqq{CELLS}H")
#: More than Storm.above may be, so a full cell decides as an exact one would.
_FULL = 0xFFFF


class _Rate(NamedTuple):
    """`newest` is the number of the newest cell, the last one of `cells`. `calm_since` is 0 while it is not calm."""

    on: bool
    within: int
    newest: int
    calm_since: int
    cells: list[int]

    def pack(self) -> bytes:
        return _RATE.pack(*self[:4], *self.cells)


def count(state: bytes, storm: Storm, at: int) -> bytes:
    """The state (b"" for none) after one more opening.

    The openings counted are those of the current cell, which is a 60th of `within` long, and of the 59 before it: all
    that are younger than 59/60 of `within`, and none that is older than `within`.
    """
    rate, now = _read(state, storm, at), _cell(storm, at)
    on, calm, cells, newest = rate.on, rate.calm_since, list(rate.cells), rate.newest
    total = sum(cells)
    if now > newest:
        for step in range(1, min(now - newest, CELLS) + 1):
            total -= cells.pop(0)
            cells.append(0)
            if on and not calm and total < storm.below:
                calm = _begin(storm, newest + step)
        newest = now
        if calm and at >= calm + storm.quiet * 1000:
            on, calm = False, 0
    place = CELLS - 1 - (newest - now)
    if place >= 0 and cells[place] < _FULL:
        cells[place] += 1
        total += 1
    if on and total >= storm.below:
        calm = 0
    elif total >= storm.above:
        on = True
    return _Rate(on, storm.within, newest, calm, cells).pack()


def is_on(state: bytes) -> bool:
    """Whether it storms, as of the newest opening."""
    return bool(state) and state[0] != 0


def openings(state: bytes) -> int:
    """Openings in the window that ends with the newest cell."""
    return sum(_RATE.unpack(state)[4:])


def over_at(state: bytes, storm: Storm) -> int:
    """When the storm is over unless something opens until then; 0 if there is none."""
    if not is_on(state):
        return 0
    rate = _read(state, storm, 0)
    calm, total = rate.calm_since, sum(rate.cells)
    for step, leaving in enumerate(rate.cells, 1):
        if calm:
            break
        total -= leaving
        if total < storm.below:
            calm = _begin(storm, rate.newest + step)
    return calm + storm.quiet * 1000


def idle_at(state: bytes, storm: Storm) -> int:
    """When the state is as good as none, unless something opens until then."""
    return max(over_at(state, storm), _begin(storm, _read(state, storm, 0).newest + CELLS))


def _read(state: bytes, storm: Storm, at: int) -> _Rate:
    """The state; one with cells of another length is counted anew, a storm goes on."""
    if state:
        on, within, newest, calm, *cells = _RATE.unpack(state)
        if within == storm.within:
            return _Rate(on, within, newest, calm, cells)
        newest = newest * within // storm.within
        return _Rate(on, storm.within, newest, calm or (on and _begin(storm, newest)), [0] * CELLS)
    return _Rate(False, storm.within, _cell(storm, at), 0, [0] * CELLS)


def _cell(storm: Storm, at: int) -> int:
    return at * CELLS // (storm.within * 1000)


def _begin(storm: Storm, cell: int) -> int:
    """The first millisecond of a cell."""
    return -(-cell * storm.within * 1000 // CELLS)
