"""Rigs on the suite's Kafka, and both stores."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.harness import Rig

MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture(params=["memory", "rocksdict"])
def store(request: pytest.FixtureRequest) -> str:
    """Each store in turn."""
    return str(request.param)


@pytest.fixture
def make_rig(broker: str, tmp_path: Path) -> Iterator[MakeRig]:
    """`await make_rig(partitions=4, **changelog_configs)`: topics of their own; workers end with the test."""
    rigs: list[Rig] = []

    async def make(partitions: int = 4, **configs: Any) -> Rig:
        rig = Rig(broker, tmp_path / f"rig{len(rigs)}", partitions)
        rigs.append(rig)
        return await rig.create(**configs)

    yield make
    for rig in rigs:
        rig.close()
