"""docker/compose.yml is a valid compose file, and says only what our commands and settings know."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from schemas.settings import PREFIX, Settings
from streams.embedded.stack import PROCESSES

ROOT = Path(__file__).resolve().parents[2]
#: The Compose Specification's schema as docker-compose 1.29.2 ships it (Apache-2.0).
SPECIFICATION = Path(__file__).with_name("compose_spec.json")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file, with its anchors resolved."""
    loaded = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def _environ(service: dict[str, Any]) -> dict[str, str]:
    """Its environment, with `${NAME:?text}` and `${NAME:-default}` given a value as compose does."""
    return {
        name: re.sub(r"\$\{\w+:([?-])([^}]*)\}", lambda found: "given" if found[1] == "?" else found[2], value)
        for name, value in service["environment"].items()
    }


def test_it_follows_the_specification(compose: dict[str, Any]) -> None:
    """Every key and shape is one of the Compose Specification; a misspelt one would be found."""
    schema = json.loads(SPECIFICATION.read_text())
    # `name` at the top came after that version of the specification.
    compose = {key: value for key, value in compose.items() if key != "name"}
    validator = jsonschema.Draft201909Validator(schema)
    validator.validate(compose)
    broken = {**compose, "services": {"kafka": {**compose["services"]["kafka"], "imagee": "x"}}}
    with pytest.raises(jsonschema.ValidationError, match="imagee"):
        validator.validate(broken)


def test_each_process_is_a_service_with_our_settings(compose: dict[str, Any]) -> None:
    """The services are the stack's processes and what prepares for them; their settings are read without error."""
    services = compose["services"]
    ours = {name for name, service in services.items() if service["image"] == "stormweir"}
    assert ours == {*PROCESSES, "topics", "migrate"}
    for name in ours:
        assert services[name]["command"] == [name]
        assert (ROOT / "streams" / "cli" / f"{name}.py").is_file()
        settings = Settings.from_env(_environ(services[name]))
        kafka, clickhouse = settings.kafka.partition(":"), settings.clickhouse.removeprefix("http://").partition(":")
        assert (kafka[0], clickhouse[0]) == ("kafka", "clickhouse")
        assert f"PLAINTEXT://{settings.kafka}" == services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        assert settings.clickhouse_token == _environ(services["clickhouse"])["CLICKHOUSE_PASSWORD"]


def test_health_is_asked_on_the_admin_port(compose: dict[str, Any]) -> None:
    """Each process is healthy when its own /readyz says so; the published ports are the gateway's and the console's."""
    settings = Settings()
    for name in PROCESSES:
        probe = compose["services"][name]["healthcheck"]["test"][-1]
        assert f"http://127.0.0.1:{settings.port(f'admin.{name}')}/readyz" in probe
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) == {"gateway", "api"}
    for name, (ports,) in published.items():
        assert ports.endswith(f":{settings.port(name)}")


def test_every_dependency_is_a_service(compose: dict[str, Any]) -> None:
    """`depends_on` waits for health or for success of services that exist and can tell it."""
    for service in compose["services"].values():
        for name, condition in service.get("depends_on", {}).items():
            needed = compose["services"][name]
            healthy = condition["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in needed)


def test_the_image_sets_only_settings_that_exist() -> None:
    """The STORMWEIR_ variables of the Dockerfile are settings."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    environ = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", text))
    assert set(environ) == {"STORMWEIR_HOST", "STORMWEIR_DATA_DIR"}
    Settings.from_env(environ)
