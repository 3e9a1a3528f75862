"""What a worker process of the contract tests is told."""

import msgspec


class Params(msgspec.Struct, kw_only=True, frozen=True):
    """`directory` is the worker's own: log, status, tables and what its sinks write."""

    bootstrap: str
    group: str
    directory: str
    source: str
    output: str
    dead: str
    changelog: str
    run: str = "counts"
    store: str = "memory"
    session_timeout: float = 6.0
    max_keys: int = 1_000_000_000
    #: What the process's wall clock is ahead, seconds, in its first three seconds; later it is as much behind.
    clock_ahead: float = 0.0
    #: A topic whose records another stage of the worker copies to `source`, passing its time on.
    relay: str = ""
    padding: int = 0
    #: End this process with SIGKILL: before the nth `send`, after the nth `chunk` or `append`.
    die_at: tuple[str, int] = ("never", 0)
    #: Sending waits while a file `gate` exists in the directory.
    gate: bool = False
    #: While a file `late` exists in the directory, a fetch begins half a second after the next rebalance.
    late_fetch: bool = False
    #: While a file `deaf` exists in the directory, the consumer hears nothing: no records, and no ends of partitions.
    deaf: bool = False
    #: A flush that somebody else appends to partition 0 just before this process's first.
    intrusion: list[tuple[bytes, bytes]] = []
    stalled_after: float = 60.0
