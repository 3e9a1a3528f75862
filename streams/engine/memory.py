"""The memory that a process gives back to the system.

glibc keeps what is freed in the middle of its heap, so a worker would hold the buffers of its busiest second for good:
80 MB at a million open incidents. https://man7.org/linux/man-pages/man3/malloc_trim.3.html

Lower thresholds (mallopt) give memory back at once, and cost a third of the throughput in page faults, as measured
with `benchmarks --only hop`.
"""

import ctypes


def give_back() -> None:
    """Give back what is free. Takes some milliseconds; does nothing where the C library has no such function."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
