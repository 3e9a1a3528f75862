"""docs/configuration.md: its snippets apply, and its tables are the models."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from schemas.control import (
    ApiKey,
    Destination,
    FieldMapping,
    Heartbeat,
    Integration,
    Lookup,
    Notify,
    QuietHours,
    Rule,
    Service,
    Tenant,
)
from schemas.control.life import Life
from schemas.wire.severity import _SEVERITY_OF, SEVERITY_NAMES, severity_of
from streams.control import document
from streams.control.state import Control
from streams.gateway.auth import Directory
from streams.gateway.routes import Routes
from streams.policy.audience import Skip
from streams.providers import PROVIDERS
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table

PAGE = read("docs/configuration.md")
MODELS: dict[str, type[BaseModel]] = {
    "tenants": Tenant,
    "services": Service,
    "Flags": Notify,
    "Quiet hours": QuietHours,
    "integrations": Integration,
    "Field mapping": FieldMapping,
    "destinations": Destination,
    "lookups": Lookup,
    "rules": Rule,
    "heartbeats": Heartbeat,
    "apikeys": ApiKey,
}


def _whole() -> str:
    """The snippets of the page as the one file they are parts of."""
    parts: dict[str, list[Any]] = {}
    for block in blocks(PAGE, "yaml"):
        for name, entries in yaml.safe_load(block).items():
            parts.setdefault(name, []).extend(entries)
    return yaml.safe_dump(parts)


@pytest.mark.parametrize("text", [_whole(), read("examples/stormweir.yaml")], ids=["snippets", "example"])
def test_the_examples_are_valid(text: str) -> None:
    """What the pages show passes every check of `stormweir apply`, and uses every list."""
    declared = document.load(text)
    document.check(declared, {})
    assert set(yaml.safe_load(text)) == set(document.SECTIONS)


def test_a_broken_snippet_would_be_noticed() -> None:
    """The check that the examples pass refuses a route to nowhere."""
    with pytest.raises(document.ConfigurationError, match=r"rules\.2\.route\.0"):
        document.check(document.load(_whole().replace("id: on-call", "id: gone")), {})


@pytest.mark.stack
def test_apply_would_write_the_snippets(reader: Reader, tmp_path: Path) -> None:
    """`--dry-run` shows them with their secrets masked, and changes nothing: it would again."""
    path = tmp_path / "stormweir.yaml"
    path.write_text(_whole())
    # Only a dry run: the page's destination is a public address, and other tests raise alerts.
    shown = reader.bash(f"stormweir apply -f '{path}' --dry-run")
    assert "+ rule/default/quiet-test" in shown
    assert "would change" in shown
    assert "change-me-please" not in shown
    assert reader.bash(f"stormweir apply -f '{path}' --dry-run") == shown


@pytest.mark.parametrize("heading", MODELS)
def test_the_tables_are_the_models(heading: str) -> None:
    """Each table lists a model's fields in order, with their defaults."""
    text = section(PAGE, heading).partition("\n### ")[0].partition("\n| Type |")[0]
    rows = [(codes(row[0])[0], row[1]) for row in table(text)]
    assert rows == [(name, _default(field)) for name, field in MODELS[heading].model_fields.items()]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if isinstance(value := field.get_default(call_default_factory=True), FieldMapping | Notify):
        return "see below"
    match value:
        case None | () | {} | Life():
            return "none"
        case "":
            return "empty"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return ", ".join(f"`{each}`" for each in value)
    return f"`{value}`"


def test_every_reason_is_listed() -> None:
    """The table has the reasons that the stream gives, and no others."""
    rows = table(section(PAGE, "Why nobody was told"))
    assert [codes(row[0])[0] for row in rows] == list(Skip)


def test_every_severity_word_means_what_the_page_says() -> None:
    """The words of the table, and no others, are known."""
    rows = {codes(row[0])[0]: row[1].split(", ") for row in table(section(PAGE, "Severities"))}
    assert {word: SEVERITY_NAMES[name] for name, words in rows.items() for word in words} == _SEVERITY_OF
    assert severity_of("FATAL") is SEVERITY_NAMES["critical"]


def test_the_routes_are_the_gateways() -> None:
    """The table of addresses names every route and no other."""
    rows = table("| Type |" + PAGE.partition("\n| Type |")[2].partition("\n\n")[0])
    assert [row[0] for row in rows[:2]] == ["every one", "every one"]
    every = {f"/api/integrations/{slug}": slug for slug in PROVIDERS}
    listed = {codes(row[1])[0]: codes(row[0])[0] for row in rows[2:]} | every
    routes = {path: route.provider.slug for path, route in Routes(Directory(Control())).fixed.items()}
    assert listed == routes
