"""One secured Kafka for all tests here, with its topics and its token endpoint."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import FreePorts
from tests.kafka.certificates import Authority
from tests.kafka.secured import PASSWORD, SecuredKafka
from tests.kafka.tokens import TokenServer


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates and the broker are."""
    return tmp_path_factory.mktemp("secured")


@pytest.fixture(scope="session")
def tokens() -> Iterator[TokenServer]:
    """The token endpoint; its clients have the same password as all users."""
    with TokenServer(PASSWORD) as server:
        yield server


@pytest.fixture(scope="session")
def secured(directory: Path, free_ports: FreePorts, tokens: TokenServer) -> Iterator[SecuredKafka]:
    """The broker, with all topics and nothing allowed."""
    kafka = SecuredKafka(directory, free_ports(8), Authority(directory), tokens.url)
    kafka.start()
    try:
        asyncio.run(create_topics(Kafka(kafka.bootstrap), 2, 1))
        yield kafka
    finally:
        kafka.stop()
