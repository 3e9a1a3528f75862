"""`stormweir integrations` and `stormweir keys` on a real Kafka, as people run them."""

import asyncio
import json
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from schemas.settings import Settings
from schemas.topics import AUDIT, CONTROL
from streams.control.follow import read
from streams.control.state import Control
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import PARTITIONS
from tests.forks import stormweir

pytestmark = pytest.mark.broker

TENANT = "cli-tests"


@pytest.fixture(scope="module")
def kafka(broker: str) -> str:
    """The broker with the control topic, and a tenant for these tests alone."""
    asyncio.run(create_topics(Kafka(broker), PARTITIONS, 1, [AUDIT, CONTROL]))
    run(broker, "keys", "create", "cli-first", "--tenant", TENANT, "--create-tenant")
    return broker


def run(kafka: str, *arguments: str, status: int = 0, given: str = "") -> str:
    """What a command prints: its output, or, with a status, its errors."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
    settings = Settings(kafka=kafka, base_url="https://alerts.example.com/")
    done = stormweir(*arguments, environ={**environ, **settings.environ(), "COLUMNS": "200"}, given=given)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


def create(kafka: str, name: str, *options: str, given: str = "") -> dict[str, Any]:
    """A new integration, as `--json` tells it."""
    base = ("integrations", "create", "-t", "datadog", "-s", "shop", "-n", name, "--tenant", TENANT, "--json")
    found: dict[str, Any] = json.loads(run(kafka, *base, *options, given=given))
    return found


def configuration(kafka: str) -> Control:
    """What is on the topic now."""
    return asyncio.run(read(Kafka(kafka)))


def test_an_integration_from_its_making_to_its_end(kafka: str, tmp_path: Path) -> None:
    """Contract C35, C39, C49, C80: made, listed masked, changed, toggled, rotated with two live keys, deleted."""
    made = create(kafka, "monitors", "--create-service", "--generate-secret", "--rate-limit", "unlimited")
    key = made["key"]
    assert made["webhook_url"] == f"https://alerts.example.com/api/integrations/datadog?integrationId={key}"
    assert key in made["test_request"]
    stored = configuration(kafka).integrations[key]
    assert (stored.signature_secret, stored.rate_limit) == (made["signature_secret"], "unlimited")

    listed = run(kafka, "integrations", "list", "--tenant", TENANT)
    assert key[:6] in listed
    assert "monitors" in listed
    assert key not in listed
    assert key not in run(kafka, "integrations", "list", "--tenant", TENANT, "--json")
    shown = run(kafka, "integrations", "show", key[:8])
    assert made["webhook_url"] in shown
    assert made["signature_secret"] not in shown

    run(kafka, "integrations", "update", "monitors", "--rate-limit", "600", "--secret", "-", given="typed secret\n")
    told = run(kafka, "integrations", "update", "monitors", "--secret", "-", status=2)
    assert "signature_secret: the standard input has none" in told
    run(kafka, "integrations", "disable", "monitors")
    stored = configuration(kafka).integrations[key]
    assert (stored.enabled, stored.rate_limit, stored.signature_secret) == (False, 600, "typed secret")
    run(kafka, "integrations", "enable", key)

    # A file that does not name the integration leaves it alone.
    file = tmp_path / "stormweir.yaml"
    file.write_text(f"services: [{{id: cli-other, tenant: {TENANT}}}]")
    run(kafka, "apply", "-f", str(file))

    successor = json.loads(run(kafka, "integrations", "rotate", key, "--json"))
    found = configuration(kafka).integrations
    assert successor["key"] != key
    assert successor["signature_secret"] == found[successor["key"]].signature_secret != "typed secret"
    assert found[key].enabled

    run(kafka, "integrations", "delete", key, status=1, given="n\n")
    assert key in configuration(kafka).integrations
    run(kafka, "integrations", "delete", key, "--yes")
    assert set(configuration(kafka).integrations) & {key, successor["key"]} == {successor["key"]}


def test_the_limit_and_what_a_tool_sends_again_are_told(kafka: str) -> None:
    """A tool that gives up after 429 is not limited unless somebody says so, and both is shown when it is made."""
    told = run(kafka, "integrations", "create", "-t", "github", "-s", "limits", "-n", "builds", "--create-service")
    assert re.search(r"^rate limit +unlimited$", told, re.MULTILINE)
    assert re.search(r"^sends again +not after 429, not after 503: GitHub never sends again", told, re.MULTILINE)
    told = run(kafka, "integrations", "create", "-t", "webhook", "-s", "limits", "-n", "script")
    assert re.search(r"^rate limit +120$", told, re.MULTILINE)
    told = run(kafka, "integrations", "update", "builds", "--rate-limit", "60")
    assert re.search(r"^rate limit +60$", told, re.MULTILINE)


def test_a_mapping_is_stored_with_its_integration(kafka: str, tmp_path: Path) -> None:
    """Contract C75: the field mapping of a generic webhook is a file, checked before anything is written."""
    file = tmp_path / "mapping.yaml"
    file.write_text("summary: alert.title\nresolve_values: [fine]\n")
    made = create(kafka, "mapped", "--create-service", "-t", "webhook", "--mapping", str(file))
    assert configuration(kafka).integrations[made["key"]].mapping.summary == "alert.title"
    file.write_text("summary: [")
    base = ("integrations", "update", made["key"], "--mapping", str(file))
    assert "mapping: " in run(kafka, *base, status=2)
    file.write_text("title: a")
    assert "mapping.title: Extra inputs are not permitted" in run(kafka, *base, status=2)


def test_what_cannot_be_made_is_told_in_one_line(kafka: str) -> None:
    """Contract C34, C37: an unknown type lists the types, an unknown service or tenant is named; nothing is written."""
    before = configuration(kafka).records
    base = ("integrations", "create", "-n", "x")
    assert "type: 'fax' is none of appdynamics" in run(kafka, *base, "-t", "fax", "-s", "shop", status=2)
    assert "service: no service 'nosuch'" in run(kafka, *base, "-t", "webhook", "-s", "nosuch", status=2)
    told = run(kafka, *base, "-t", "webhook", "-s", "shop", "--tenant", "nosuch", status=2)
    assert "tenant: no tenant 'nosuch'" in told
    assert "--service" in run(kafka, *base, "-t", "webhook", status=2)
    assert len(told.splitlines()) == 1
    assert configuration(kafka).records == before


def test_an_api_key_is_shown_once(kafka: str) -> None:
    """Contract B4, B9, B10: key and secret at creation only; two live keys, of which one is revoked."""
    first, second = (
        json.loads(run(kafka, "keys", "create", name, "--tenant", TENANT, "--json")) for name in ("cli-1", "cli-2")
    )
    stored = {key.id: key for key in configuration(kafka).apikeys.values()}
    assert stored["cli-1"].sha256 == sha256(first["key"].encode()).hexdigest()
    assert stored["cli-1"].webhook_secret == first["webhook_secret"]
    listed = run(kafka, "keys", "list", "--tenant", TENANT)
    assert first["key"][:8] in listed
    for hidden in (first["key"], first["webhook_secret"], stored["cli-1"].sha256):
        assert hidden not in listed
    run(kafka, "keys", "revoke", "cli-1", "--yes")
    left = {key.sha256 for key in configuration(kafka).apikeys.values() if key.tenant == TENANT}
    assert sha256(second["key"].encode()).hexdigest() in left
    assert sha256(first["key"].encode()).hexdigest() not in left
    assert "id: there is no such API key" in run(kafka, "keys", "revoke", "cli-1", "--yes", status=2)
