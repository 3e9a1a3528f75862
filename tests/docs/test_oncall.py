"""docs/oncall.md: its snippets apply, its tables are the models, its rules and commands do what it says."""

from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from schemas.control import Contact, Escalation, Layer, Override, Schedule, SlaTarget, Step, User
from streams.control import document
from streams.control.checks import GAP_DAYS
from streams.control.oncall import KEPT_DAYS, on_call
from streams.control.state import Control
from tests.control.test_oncall import applied
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table
from tests.docs.test_configuration import _default
from tests.policy.test_recurrence import ms

PAGE = read("docs/oncall.md")
MODELS: dict[str, type[BaseModel]] = {
    "users": User,
    "Contacts": Contact,
    "schedules": Schedule,
    "Layers": Layer,
    "overrides": Override,
    "escalations": Escalation,
    "Steps": Step,
    "Targets": SlaTarget,
}
(COMMANDS,) = blocks(PAGE, "bash")


def _whole() -> dict[str, Any]:
    """The snippets as one file."""
    parts: dict[str, Any] = {}
    for block in blocks(PAGE, "yaml"):
        parts |= yaml.safe_load(block)
    return parts


def _configuration() -> Control:
    return applied(*document.load(yaml.safe_dump(_whole())).values())


def test_the_snippets_are_valid() -> None:
    """They pass every check of `stormweir apply`."""
    declared = document.load(yaml.safe_dump(_whole()))
    assert not [warning for warning in document.check(declared, {}) if "nobody is on call" not in warning]


@pytest.mark.parametrize("heading", MODELS)
def test_the_tables_are_the_models(heading: str) -> None:
    """Each table lists a model's fields in order, with their defaults."""
    rows = [(codes(row[0])[0], row[1]) for row in table(section(PAGE, heading).partition("\n### ")[0])]
    assert rows == [(name, _default(field)) for name, field in MODELS[heading].model_fields.items()]


def test_the_bounds_are_those_of_the_code() -> None:
    """Numbers in the text."""
    assert f"some time of the next {GAP_DAYS} days" in PAGE
    assert f"over for more than {KEPT_DAYS} days" in PAGE


def test_the_schedule_of_the_page() -> None:
    """Weeks from Monday 09:00 in turn, Grace on Wednesday mornings, Ada at Christmas."""
    oncall = on_call(_configuration())
    expected = {
        "2026-11-02T07:59:00": (),
        "2026-11-02T08:00:00": ("ada",),
        "2026-11-04T08:00:00": ("grace",),
        "2026-11-04T11:00:00": ("ada",),
        "2026-11-09T08:00:00": ("grace",),
        "2026-12-23T12:00:00": ("grace",),
        "2026-12-24T08:00:00": ("ada",),
        "2026-12-26T19:00:00": ("grace",),
    }
    assert {at: oncall.at("default", "primary", ms(at)) for at in expected} == expected


@pytest.mark.stack
def test_the_commands_of_the_page_work(reader: Reader, tmp_path: Any) -> None:
    """An override is seen in the shifts, and can be cancelled; what is exported is imported."""
    file = tmp_path / "stormweir.yaml"
    # Without the service: the destinations are public addresses, and other tests raise alerts.
    file.write_text(yaml.safe_dump({name: entries for name, entries in _whole().items() if name != "services"}))
    reader.bash(f"stormweir apply -f '{file}'")
    shown = reader.bash(f"cd '{tmp_path}'\n{COMMANDS}")
    assert "grace until 2027-01-01T12:00:00+01:00" in shown
    assert "overrides of primary" in shown
    assert "ada" in reader.bash("stormweir oncall now --at 2026-12-25T00:00Z")
    reader.bash("stormweir oncall now primary --at 2026-01-01T00:00Z || test $? = 1")
    listed = reader.bash("stormweir oncall overrides | grep override-").split()
    assert "deleted" in reader.bash(f"stormweir oncall cancel {listed[0]}")
