"""What every room's tests share: a real Kafka, topics on it, and free ports."""

import os
import random
import shutil
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from schemas.settings import PORTS as STACK_PORTS
from schemas.topics import Topic
from streams.embedded.kafka import EmbeddedKafka
from streams.process.kafka import Kafka
from streams.process.ports import is_free
from streams.process.topics import create_topics

# How long an example takes depends on what else the machine does; pytest-timeout ends what hangs. `make test` tries the
# same examples each time, so that it judges a change and not luck; `--hypothesis-profile=explore` looks for new ones.
hypothesis.settings.register_profile("stormweir", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("stormweir")

MakeTopics = Callable[..., Awaitable[tuple[str, ...]]]
FreePorts = Callable[[int], list[int]]

#: Of Stormweir's topics on the broker that the tests of several folders share.
PARTITIONS = 4
_TESTS = Path(__file__).parent
#: Folders that take minutes, the longest first.
_LONGEST = ("console", "engine", "embedded", "senders", "cli", "faults", "storm", "docs", "api", "gateway", "docker")
#: Below the ports that systems give to outgoing connections: one of those must not take a stopped server's place.
#: Processes of one `pytest -n` search in parts of their own, so that none takes what another has just found.
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FREE = range(10_000 + 22_000 * _PROCESS // _PROCESSES, 10_000 + 22_000 * (_PROCESS + 1) // _PROCESSES)


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", random.choice(_FREE)))
                found.append(probe.getsockname()[1])
    return found


def free_base(free_ports: FreePorts = _free_ports) -> int:
    """A port base from which every port of a stack is free."""
    while True:
        (base,) = free_ports(1)
        if all(is_free(base + offset) for offset in STACK_PORTS.values()):
            return base


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their parameter: those with a time inside would name a test differently in each process."""
    return argname if isinstance(val, bytes) else None


class Folders(LoadScopeScheduling):
    """`pytest -n`: tests of one folder run in one process, so that each folder's servers are started once. The engine's
    are two halves, one for each store: together they would take longest of all.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("/")[1] + ("rocksdict" if "[rocksdict" in nodeid else "")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Folders:
    """Whole folders, in the order of the items. (The groups of xdist 3.8 have no effect with pytest 9.2.)"""
    config.option.loadscopereorder = False
    return Folders(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders that take longest come first, so that no process is left with one of them at the end."""
    place = {folder: number for number, folder in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.path.relative_to(_TESTS).parts[0], len(place)))


@pytest.fixture(scope="session")
def free_ports() -> FreePorts:
    """`free_ports(n)`: n different ports nobody listens on."""
    return _free_ports


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a real single-node Kafka that lives as long as the session."""
    directory = tmp_path_factory.mktemp("kafka")
    port, controller_port = _free_ports(2)
    kafka = EmbeddedKafka(directory, port, controller_port)
    kafka.start()
    try:
        yield kafka.bootstrap
    finally:
        kafka.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def make_topics(broker: str) -> MakeTopics:
    """`await make_topics("in", "out", partitions=4, compact=False, exact=False)`: the created names.

    Names get a suffix of their own, so that tests share one broker and never a topic; `exact` keeps them.
    """

    async def make(*names: str, partitions: int = 4, compact: bool = False, exact: bool = False) -> tuple[str, ...]:
        suffix = "" if exact else f"-{uuid.uuid4().hex[:8]}"
        topics = [Topic(name + suffix, key="test", compact=compact) for name in names]
        await create_topics(Kafka(broker), partitions, 1, topics)
        return tuple(topic.name for topic in topics)

    return make
