"""What is replaced in files is used by the next connection of a client that runs."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from schemas.settings import Settings, SettingsError
from schemas.topics import ALERTS_RAW, CHANGES, CONTROL
from streams.gateway.lanes import Lanes
from streams.process.kafka import Kafka
from tests.kafka.secured import PASSWORD, SecuredKafka

Write = Callable[..., Settings]


@pytest.fixture
def write(secured: SecuredKafka, tmp_path: Path) -> Write:
    """`write(way, user, **more)`: a file of client properties, and the settings that name it."""

    def write(way: str, user: str, **more: str) -> Settings:
        values = {**secured.values(way, user), **{name.replace("_", "."): text for name, text in more.items()}}
        new = tmp_path / "new"
        new.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        new.replace(tmp_path / "kafka.properties")
        return Settings(kafka=secured.address(way), kafka_config=str(tmp_path / "kafka.properties"))

    return write


@asynccontextmanager
async def _admin(kafka: Kafka) -> AsyncIterator[Any]:
    admin = kafka.admin()
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _seen(admin: Any) -> set[str]:
    """The topics that are shown to this client, over a new connection."""
    for connection in list(admin._client._conns.values()):
        connection.close()
    return {topic["topic"] for topic in await admin.describe_topics()}


async def test_a_certificate_is_renewed(secured: SecuredKafka, write: Write, tmp_path: Path) -> None:
    """A client that runs shows the certificate that is in the file when it connects again."""
    await asyncio.to_thread(secured.allow, "CN=old", "READ", "topic", CHANGES.name)
    await asyncio.to_thread(secured.allow, "CN=new", "READ", "topic", CONTROL.name)
    certificate = tmp_path / "client.pem"
    shutil.copy(secured.authority.issue("old", password="locked"), certificate)
    settings = write("mTLS", "old", ssl_certificate_location=str(certificate), ssl_key_password="locked")
    async with _admin(Kafka.of(settings)) as admin:
        assert await _seen(admin) == {CHANGES.name}
        shutil.copy(secured.authority.issue("new"), certificate)
        write("mTLS", "new", ssl_certificate_location=str(certificate))
        assert CONTROL.name in await _seen(admin)


async def test_a_password_is_renewed(secured: SecuredKafka, write: Write) -> None:
    """A client that runs uses the password that is in the file when it connects again."""
    await asyncio.to_thread(secured.allow, "control", "READ", "topic", CONTROL.name)
    async with _admin(Kafka.of(write("SCRAM-SHA-256", "control"))) as admin:
        assert CONTROL.name in await _seen(admin)
        try:
            await asyncio.to_thread(secured.set_password, "control", "another")
            write("SCRAM-SHA-256", "control", sasl_password="another")
            assert CONTROL.name in await _seen(admin)
            fresh = Kafka.of(write("SCRAM-SHA-256", "control")).admin()
            with pytest.raises(KafkaConnectionError):
                await fresh.start()
            await fresh.close()
        finally:
            await asyncio.to_thread(secured.set_password, "control", PASSWORD)


async def test_a_file_that_is_half_written_changes_nothing(write: Write, tmp_path: Path) -> None:
    """While a file cannot be read the latest good one holds; a process does not start with it."""
    settings = write("PLAIN", "control")
    kafka = Kafka.of(settings)
    (tmp_path / "kafka.properties").write_text("security.protocol=SASL_SSL\nsasl.mech")
    assert kafka.properties().sasl_password == PASSWORD
    with pytest.raises(SettingsError, match="line 2 is not name=value"):
        Kafka.of(settings)
    (tmp_path / "kafka.properties").unlink()
    assert kafka.properties().sasl_password == PASSWORD
    with pytest.raises(SettingsError, match=r"STORMWEIR_KAFKA_CONFIG=.*No such file"):
        Kafka.of(settings)


@pytest.mark.parametrize("name", ["ssl_ca_location", "ssl_certificate_location"])
def test_certificates_that_cannot_be_used_end_the_start(write: Write, tmp_path: Path, name: str) -> None:
    """A missing file is named before anything connects."""
    with pytest.raises(SettingsError, match=rf"{name.replace('_', '.')}=.*missing\.pem.*No such file"):
        Kafka.of(write("mTLS", "control", **{name: str(tmp_path / "missing.pem")}))


def test_the_environment_wins_over_the_file(write: Write, tmp_path: Path) -> None:
    """A property of the environment replaces the file's."""
    settings = write("PLAIN", "control")
    given = {**settings.environ(), "STORMWEIR_KAFKA_SASL_USERNAME": "somebody"}
    properties = Kafka.of(Settings.from_env(given)).properties()
    assert (properties.sasl_username, properties.sasl_password) == ("somebody", PASSWORD)


async def test_sessions_that_the_broker_ends_lose_nothing(secured: SecuredKafka) -> None:
    """A broker that wants clients to authenticate again (`connections.max.reauth.ms`) ends their connections: writes
    go on over new ones.
    """
    for operation in ("WRITE", "DESCRIBE_CONFIGS"):
        await asyncio.to_thread(secured.allow, "gateway", operation, "topic", ALERTS_RAW.name)
    properties = secured.reached("PLAIN", "gateway").properties()
    lanes = Lanes(Kafka(secured.short, properties=lambda: properties), ALERTS_RAW.name)
    await lanes.start()
    try:
        loop = asyncio.get_running_loop()
        end = loop.time() + 5
        while loop.time() < end:
            await lanes.put(b"key", b"value", 1)
            await asyncio.sleep(0.02)
    finally:
        await lanes.stop()
