"""The control topic: followed from its first record on, and made what a file says."""

import asyncio
import os
import subprocess
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client import REGISTRY

from schemas.control import Integration, Service, control_key, dump
from schemas.settings import Settings
from schemas.topics import AUDIT, CONTROL
from streams.control import document
from streams.control.follow import ControlReader, masked, publish, read
from streams.control.state import Control
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import PARTITIONS
from tests.forks import stormweir

INVALID = "stormweir_control_invalid_total"


@pytest.fixture(scope="module")
def kafka(broker: str) -> str:
    """The broker with the topics of changes."""
    asyncio.run(create_topics(Kafka(broker), PARTITIONS, 1, [AUDIT, CONTROL]))
    return broker


def new_service(name: str = "") -> Service:
    """A service nobody else has."""
    return Service(id=f"control-{uuid.uuid4().hex[:8]}", name=name)


async def follow(reader: ControlReader, service: Service, name: str | None) -> None:
    """Wait until the reader knows the service by this name, or, for None, not at all."""
    async with asyncio.timeout(10):
        while True:
            found = reader.control.services.get((service.tenant, service.id))
            if (None if found is None else found.name) == name:
                return
            await asyncio.sleep(0.01)


@pytest.mark.broker
async def test_a_reader_has_read_everything_when_it_starts_and_then_follows(kafka: str) -> None:
    """What was published before `start` is there when it returns; changes and deletions come by themselves."""
    service = new_service("first")
    await publish(Kafka(kafka), [service])
    reader = ControlReader(Kafka(kafka))
    try:
        await reader.start()
        assert reader.control.services["default", service.id] == service
        await publish(Kafka(kafka), [service.model_copy(update={"name": "second"})])
        await follow(reader, service, "second")
        await publish(Kafka(kafka), [], [control_key(service)])
        await follow(reader, service, None)
    finally:
        await reader.stop()


@pytest.mark.broker
async def test_an_invalid_record_is_counted_and_replaces_nothing(kafka: str) -> None:
    """Records that do not validate, or have no known kind, are passed over; the valid one stays."""
    service = new_service("valid")
    key = control_key(service).encode()
    before = REGISTRY.get_sample_value(INVALID) or 0
    await publish(Kafka(kafka), [service])
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for bad_key, value in ((key, b"{"), (key, b'{"id": 3}'), (b"nonsense/x", b"{}"), (b"\xff", b"{}")):
            await producer.send_and_wait(CONTROL.name, value, key=bad_key, partition=0)
    finally:
        await producer.stop()
    assert (await read(Kafka(kafka))).services["default", service.id] == service
    assert (REGISTRY.get_sample_value(INVALID) or 0) >= before + 3


def test_an_integration_is_masked_because_its_id_is_its_key() -> None:
    """What logs and differences show of a key is not enough to use it."""
    assert masked("integration/" + "a" * 32) == "integration/aaaaaa..."
    assert masked("service/default/shop") == "service/default/shop"


YAML = """
services: [{id: shop}]
destinations: [{id: hook, url: "https://example.com/T0KEN?x=S3CRET", secret: "S3CRET-S3CRET", headers: {X-A: S3CRET}}]
integrations:
  - {id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, name: a, type: webhook, service: shop, signature_secret: S3CRET-S3CRET}
rules: [{id: tell, match: ['severity="critical"'], route: [hook]}]
"""


def problems(text: str, known: Control | None = None) -> list[str]:
    """The problems of a file, one a line."""
    with pytest.raises(document.ConfigurationError) as caught:
        document.check(document.load(text), known.records if known else {})
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("services: [", "line 1: "),
        ("- a", "the file is a mapping"),
        ("", "the file is a mapping"),
        ("service: []", "service: unknown"),
        ("services: 3", "services: a list"),
        ("services: [{id: a}, {id: 'a b'}]", "services.1.id: "),
        ("services: [{id: a}, {id: b, colour: red}]", "services.1.colour: "),
        ("services: [{id: a}, {id: a}]", "services.1.id: is the same as in services.0"),
        ("services: [3]", "services.0: "),
        ("integrations: [{id: x, name: n, type: webhook, service: a}]", "integrations.0.id: "),
        (YAML.replace("service: shop", "service: none"), "integrations.0.service: no service 'none'"),
        (YAML.replace("type: webhook", "type: fax"), "integrations.0.type: 'fax' is none of"),
        (YAML.replace("id: hook,", "id: hook, type: fax,"), "destinations.0.type: is none of"),
        (YAML.replace("[hook]", "[hook, none]"), "rules.0.route.1: no destination 'none'"),
        (YAML.replace('severity="critical"', "severity?"), "rules.0.match.0: "),
        (YAML.replace("secret: S3CRET-S3CRET", "secret: S3CRE"), "integrations.0.signature_secret: "),
        (YAML.replace("X-A: S3CRET", '"X A": S3CRET'), "destinations.0.headers: "),
    ],
)
def test_every_problem_of_a_file_has_its_path_and_no_secret(text: str, start: str) -> None:
    """A file that cannot be applied is refused with where and why, never with a secret's value."""
    (problem,) = problems(text)
    assert problem.startswith(start)
    assert "S3CRET" not in problem


def test_references_may_lead_to_what_is_already_there() -> None:
    """A file need not repeat the services that were declared before."""
    known = Control()
    shop = Service(id="shop")
    text = YAML.replace("services: [{id: shop}]", "")
    assert problems(text) == ["integrations.0.service: no service 'shop'"]
    known.apply(control_key(shop), dump(shop))
    document.check(document.load(text), known.records)


def test_a_plan_names_what_changes_and_masks_secrets() -> None:
    """New, changed and, with prune, unnamed records; equal ones are left; no secret shows."""
    declared = document.load(YAML)
    first = document.plan(declared, {})
    assert [control_key(record) for record in first.records] == list(declared)
    assert "S3CRET" not in "\n".join(first.lines)
    assert "T0KEN" not in "\n".join(first.lines)
    assert "aaaaaaa" not in "\n".join(first.lines)

    assert document.plan(declared, declared, document.SECTIONS) == ([], [], [])

    other = Integration(id="b" * 32, name="b", type="webhook", service="old")
    known = {**declared, control_key(other): other, "service/default/old": Service(id="old")}
    changed = document.load(YAML.replace("{id: shop}", "{id: shop, name: Shop}"))
    kept = document.plan(changed, known)
    assert (kept.deletes, kept.lines) == ([], ["~ service/default/shop", '    name: "" -> "Shop"'])
    pruned = document.plan(changed, known, {"services", "integrations"})
    assert pruned.deletes == [control_key(other), "service/default/old"]
    # A file without a list of integrations leaves alone those that commands made.
    assert document.plan(changed, known, {"services"}).deletes == ["service/default/old"]
    assert pruned.lines[2:] == ["- integration/bbbbbb...", "- service/default/old"]


@pytest.mark.broker
def test_apply_writes_once_and_a_dry_run_never(kafka: str, tmp_path: Path) -> None:
    """`--dry-run` shows and writes nothing; the second apply has nothing to do; wrong files change nothing."""
    service = new_service()
    file = tmp_path / "stormweir.yaml"
    file.write_text(f"services: [{{id: {service.id}}}]")
    environ = {**os.environ, **Settings(kafka=kafka).environ()}

    def apply(*options: str) -> subprocess.CompletedProcess[str]:
        return stormweir("apply", "-f", str(file), *options, environ=environ)

    def declared() -> bool:
        return ("default", service.id) in asyncio.run(read(Kafka(kafka))).services

    added = f"+ service/default/{service.id}\n"
    dry = apply("--dry-run")
    assert (dry.returncode, dry.stdout) == (0, f"{added}1 of 1 records would change\n")
    assert not declared()
    assert apply().stdout == f"{added}1 of 1 records changed\n"
    assert declared()
    assert apply().stdout == "nothing to change\n"
    file.write_text("services: [{id: x}, {}]")
    refused = apply()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "services.1.id: Field required" in refused.stderr
    file.unlink()
    assert apply().returncode == 2


def test_the_example_is_valid() -> None:
    """examples/stormweir.yaml can be applied to an empty system."""
    with open("examples/stormweir.yaml") as file:
        declared = document.load(file.read())
    document.check(declared, {})
    assert len(declared) == 23
