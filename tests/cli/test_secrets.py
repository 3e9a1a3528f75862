"""`stormweir secrets`, and secrets under all other commands, on a real Kafka; each test has its own `control` topic."""

import asyncio
import json
import os
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client import REGISTRY

from schemas.control import KINDS, Destination, Integration, Service
from schemas.settings import Settings
from schemas.topics import AUDIT, CONTROL
from streams.cli import build
from streams.control.follow import ControlReader, publish, read
from streams.control.kinds import validate
from streams.control.secrets import MissingKeysError, SecretKeys, new_key
from streams.control.write import partition_of
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests import forks
from tests.control.test_shown import CANARY, SAMPLES
from tests.engine.harness import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

OLD, NEW, OTHER = new_key(), new_key(), new_key()
INTEGRATION = "5f" * 16
INVALID = "stormweir_control_invalid_total"

#: Those that a file may have.
DECLARED = [(kind, fields) for kind, fields in SAMPLES if KINDS[kind].declared]


@pytest.fixture
def settings(broker: str) -> Settings:
    """Settings of names of the test's own, with the old key."""
    found = Settings(kafka=broker, kafka_prefix=f"secrets-{uuid.uuid4().hex[:8]}.", secret_keys=OLD)
    asyncio.run(create_topics(Kafka.of(found), 1, 1, [AUDIT, CONTROL]))
    return found


def stormweir(settings: Settings, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command; no canary is in what it prints, whatever it is."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
    environ = {**environ, **settings.environ(), "COLUMNS": "200"}
    done = forks.stormweir(*arguments, environ=environ, given=given, seconds=120)
    for key in (CANARY, OLD, NEW, OTHER):
        assert key not in done.stdout + done.stderr, arguments
    return done


def printed(settings: Settings, *arguments: str, given: str = "") -> str:
    """What a command prints that succeeds."""
    done = stormweir(settings, *arguments, given=given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(settings: Settings, *arguments: str, status: int = 2) -> str:
    """The errors of a command that fails."""
    done = stormweir(settings, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr


def statuses(settings: Settings) -> dict[str, int]:
    """The records by the key's state, without those of none."""
    rows = json.loads(printed(settings, "secrets", "status", "--json"))
    return {row["state"]: row["records"] for row in rows if row["records"]}


async def raw(settings: Settings) -> list[tuple[bytes, bytes]]:
    """Every record of the topic, as it is."""
    kafka = Kafka.of(settings)
    consumer, partition = kafka.consumer(auto_offset_reset="earliest"), partition_of(kafka)
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end, found = (await consumer.end_offsets([partition]))[partition], []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found += [(record.key, record.value or b"") for record in records]
        return found
    finally:
        await consumer.stop()


def document(path: Path, **more: Any) -> Path:
    """A file with a record of each kind and of each channel, with canaries in their secrets."""
    lists: dict[str, list[dict[str, Any]]] = {}
    for number, (kind, fields) in enumerate(DECLARED):
        named = {"id": f"hook-{number}"} if kind == "destination" else {}
        lists.setdefault(f"{kind}s", []).append({**fields, **named, **more.get(kind, {})})
    hook = lists["destinations"][0]["id"]
    lists["rules"][0]["route"] = lists["routes"][0]["destinations"] = [hook]
    lists["users"][0]["destinations"] = [{"destination": hook}]
    path.write_text(yaml.safe_dump(lists))
    return path


def test_no_secret_is_on_the_topic_nor_in_the_output_of_a_command(settings: Settings, tmp_path: Path) -> None:
    """A file with every kind and channel is applied once; the topic's bytes and every list and show hide secrets."""
    file = str(document(tmp_path / "stormweir.yaml"))
    assert '"***"' in printed(settings, "apply", "-f", file, "--dry-run")
    assert asyncio.run(raw(settings)) == []
    done = stormweir(settings, "apply", "-f", file)
    assert (done.returncode, done.stderr) == (0, "")
    written = asyncio.run(raw(settings))
    assert len(written) == len(DECLARED)
    assert not [key for key, value in written if CANARY.encode() in value]
    # Sealing gives other bytes each time; what did not change is not written again.
    assert printed(settings, "apply", "-f", file) == "nothing to change\n"
    assert asyncio.run(raw(settings)) == written
    control = asyncio.run(read(Kafka.of(settings), SecretKeys([OLD])))
    for record in control.records.values():
        if isinstance(record, Destination):
            assert record == validate("destination", yaml.safe_load(record.model_dump_json()))
    assert control.integrations[INTEGRATION].signature_secret == CANARY

    for words in _reading():
        stormweir(settings, *words)
    changed = str(document(tmp_path / "changed.yaml", integration={"signature_secret": f"{CANARY}-2"}))
    assert '    signature_secret: "***" -> "***"' in printed(settings, "apply", "-f", changed)
    assert CANARY.encode() not in b"".join(value for _, value in asyncio.run(raw(settings)))
    broken = str(document(tmp_path / "broken.yaml", integration={"service": "none"}, apikey={"scopes": [CANARY]}))
    assert "apikeys.0.scopes.0" in refused(settings, "apply", "-f", broken)


def _reading() -> list[tuple[str, ...]]:
    """Every command that lists, shows or tells the state of what is configured."""
    names = {"integrations": INTEGRATION, "destinations": "hook-5", "keys": "ci"}
    found: list[tuple[str, ...]] = []
    for group, command in typer.main.get_command(build()).commands.items():  # type: ignore[attr-defined]
        if group in {*names, "secrets"}:
            for word in {"list", "show", "status"} & set(command.commands):
                target = (names[group],) if word == "show" else ()
                found += [(group, word, *target), (group, word, *target, "--json")]
    assert {
        ("integrations", "list"),
        ("integrations", "show", INTEGRATION),
        ("keys", "list"),
        ("secrets", "status"),
    } <= {*found}
    return found


def test_a_rotation_gives_every_record_the_new_key(settings: Settings, tmp_path: Path) -> None:
    """Counts before and after, twice is once, and the old key is needed no more; the old key alone opens nothing."""
    printed(settings, "apply", "-f", str(document(tmp_path / "stormweir.yaml")))
    secret = asyncio.run(read(Kafka.of(settings), SecretKeys([OLD]))).integrations[INTEGRATION]
    plain = secret.model_copy(update={"id": "7f" * 16})
    asyncio.run(publish(Kafka.of(settings), [plain]))
    sealed = statuses(settings)["first"]
    assert sealed > 1
    assert statuses(settings) == {"first": sealed, "plain": 1}
    both, new = replace(settings, secret_keys=f"{NEW},{OLD}"), replace(settings, secret_keys=NEW)
    assert statuses(both) == {"known": sealed, "plain": 1}
    told = printed(both, "secrets", "rotate")
    assert told == f"{sealed + 1} records sealed with the first key, 0 were sealed with it already\n"
    length = len(asyncio.run(raw(settings)))
    assert json.loads(printed(both, "secrets", "rotate", "--json")) == {"written": 0, "kept": sealed + 1, "deleted": 0}
    assert len(asyncio.run(raw(settings))) == length
    assert statuses(new) == {"first": sealed + 1}
    assert asyncio.run(read(Kafka.of(settings), SecretKeys([NEW]))).integrations[plain.id] == plain
    assert statuses(settings) == {"missing": sealed + 1}


def test_who_lacks_the_key_is_told_which_and_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    """Lists log the missing key, changes and rotations are refused, doctor fails; the lost records can be deleted."""
    file = str(document(tmp_path / "stormweir.yaml"))
    printed(settings, "apply", "-f", file)
    before, missing = asyncio.run(raw(settings)), SecretKeys([OLD]).ids[0]
    for wrong in (replace(settings, secret_keys=""), replace(settings, secret_keys=OTHER)):
        listed = stormweir(wrong, "integrations", "list")
        assert listed.returncode == 0
        assert "secret_key_unknown: signature_secret" in listed.stderr
        assert f"keys are missing here ({missing})" in listed.stderr
        assert "STORMWEIR_SECRET_KEYS" in refused(wrong, "apply", "-f", file)
    assert missing in refused(wrong, "secrets", "rotate")
    asked = stormweir(wrong, "doctor", "--kafka", "--process", "control")
    assert asked.returncode == 1
    assert f"keys are missing here ({missing})" in asked.stdout
    assert asyncio.run(raw(settings)) == before
    assert "are sealed, 0 have secrets in plain text" in printed(settings, "doctor", "--kafka", "--process", "control")

    lost = replace(settings, secret_keys=OTHER)
    stormweir(lost, "secrets", "rotate", "--delete-unopened", given="n\n")
    assert asyncio.run(raw(settings)) == before
    told = printed(lost, "secrets", "rotate", "--delete-unopened", given="y\n")
    assert "integration/5f5f5f..." in told
    assert INTEGRATION not in told
    printed(lost, "apply", "-f", file)
    assert asyncio.run(read(Kafka.of(lost), SecretKeys([OTHER]))).integrations[INTEGRATION].signature_secret == CANARY


def test_without_keys_secrets_are_plain_and_every_writer_is_warned(settings: Settings, tmp_path: Path) -> None:
    """Commands work as before there were keys; apply and doctor say what that means."""
    without = replace(settings, secret_keys="")
    done = stormweir(without, "apply", "-f", str(document(tmp_path / "stormweir.yaml")))
    assert done.returncode == 0
    assert "records are on Kafka in plain text, because STORMWEIR_SECRET_KEYS is not set" in done.stderr
    assert CANARY.encode() in b"".join(value for _, value in asyncio.run(raw(without)))
    asked = stormweir(without, "doctor", "--kafka", "--process", "control")
    assert asked.returncode == 0
    assert "secrets are stored on Kafka in plain text: set STORMWEIR_SECRET_KEYS" in asked.stdout
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text("services: [{id: quiet}]")
    assert stormweir(without, "apply", "-f", str(quiet)).stderr == ""
    # The way up: with a key everything is read as it is, and a rotation seals it.
    assert "`stormweir secrets rotate` seals them" in printed(settings, "doctor", "--kafka", "--process", "control")
    printed(settings, "secrets", "rotate")
    assert "plain" not in statuses(settings)


async def test_a_process_keeps_what_it_had_and_does_not_start_with_less(settings: Settings) -> None:
    """A record of an unknown key is refused while running; a start is refused unless an older one can be read."""
    kafka, mine, foreign = Kafka.of(settings), SecretKeys([OLD]), SecretKeys([OTHER])
    first, second = (
        Integration(id=INTEGRATION, name=name, type="webhook", service="shop", signature_secret=CANARY)
        for name in ("first", "second")
    )
    last = Service(id="last")
    await publish(kafka, [first], keys=mine)
    counted = REGISTRY.get_sample_value(INVALID) or 0
    reader = ControlReader(kafka, mine)
    try:
        await reader.start()
        await publish(kafka, [second, last], keys=foreign)
        await until(lambda: ("default", "last") in reader.control.services, 10, "the last record")
        assert reader.control.integrations == {INTEGRATION: first}
        assert REGISTRY.get_sample_value(INVALID) == counted + 1
    finally:
        await reader.stop()

    again = ControlReader(kafka, mine)
    try:
        await again.start()
        assert again.control.integrations == {INTEGRATION: first}
    finally:
        await again.stop()
    await publish(kafka, [second.model_copy(update={"id": "6f" * 16})], keys=foreign)
    refusing = ControlReader(kafka, mine)
    try:
        with pytest.raises(MissingKeysError, match=rf"of 1 records cannot be opened.*\({foreign.ids[0]}\)"):
            await refusing.start()
    finally:
        await refusing.stop()


def test_a_new_key_is_printed_and_usable() -> None:
    """`new-key` prints one line, another one each time, without asking Kafka."""
    keys = [stormweir(Settings(kafka="nowhere:1"), "secrets", "new-key").stdout.splitlines() for _ in range(2)]
    assert [len(lines) for lines in keys] == [1, 1]
    assert len(SecretKeys([line for lines in keys for line in lines]).ids) == 2
