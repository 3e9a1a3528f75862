"""Nothing is lost or doubled when processes, the broker and ClickHouse are killed under load."""

from pathlib import Path

import pytest

from benchmarks.faults import run
from tests.conftest import FreePorts, free_base


@pytest.mark.timeout(420)
async def test_every_promise_holds_under_kills(tmp_path: Path, free_ports: FreePorts) -> None:
    """Random kill -9 and ClickHouse away at 2,000 alerts a second; `make faults` also kills the broker."""
    base = free_base(free_ports)
    verdicts = await run(tmp_path / "faults", base, kills=3, away=5, broker=0, seed=base * 10)
    assert [verdict.broken for verdict in verdicts] == [[], []]
    assert all(verdict.result["accepted"] > 5_000 and verdict.result["drained"] for verdict in verdicts)
    assert sum(sum(verdict.kills.values()) for verdict in verdicts) >= 3
