"""Nothing is lost or doubled when processes, the broker and ClickHouse are killed under load."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults import run
from schemas.config import PORTS
from streams.process.ports import is_free


@pytest.mark.timeout(420)
async def test_every_promise_holds_under_kills(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Random kill -9 and ClickHouse away at 2,000 alerts a second; `make faults` also kills the broker."""
    base = 0
    while not 1024 <= base <= 65_000 or not all(is_free(base + offset) for offset in PORTS.values()):
        (base,) = free_ports(1)
    verdicts = await run(tmp_path / "faults", base, kills=3, away=5, broker=0, seed=base * 10)
    assert [verdict.broken for verdict in verdicts] == [[], []]
    assert all(verdict.result["accepted"] > 5_000 and verdict.result["drained"] for verdict in verdicts)
    assert sum(sum(verdict.kills.values()) for verdict in verdicts) >= 3
