"""docs/silences.md: its snippets apply, its tables are the models, its rules and commands do what it says."""

import json
from datetime import date
from itertools import islice
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from schemas.control import Calendar, Inhibition, Maintenance, Recurrence, Silence
from schemas.control.calendar import MAX_HOLIDAYS, MAX_ICS
from schemas.control.period import MAX_DAYS
from streams.cli import silences
from streams.control import document
from streams.control.checks import LONG_DAYS, LONG_RECURRING_DAYS
from streams.control.mutes import KEPT_DAYS
from streams.policy.calendars import inside
from streams.policy.language import INCIDENT_FIELDS
from streams.policy.matching import BROAD
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table
from tests.docs.test_configuration import _default
from tests.policy.test_recurrence import ms

PAGE = read("docs/silences.md")
MODELS: dict[str, type[BaseModel]] = {
    "silences": Silence,
    "maintenances": Maintenance,
    "Recurrence": Recurrence,
    "inhibitions": Inhibition,
    "calendars": Calendar,
}
PREVIEW, ADD, START = blocks(PAGE, "bash")
SERVICES = {"services": [{"id": name} for name in ("network", "reports", "database")]}


def _whole() -> dict[str, Any]:
    """The snippets as one file, with the services that they name."""
    parts: dict[str, Any] = dict(SERVICES)
    for block in blocks(PAGE, "yaml"):
        parts |= yaml.safe_load(block)
    return parts


def test_the_snippets_are_valid() -> None:
    """They pass every check of `stormweir apply`; what they warn of is only that time goes by."""
    declared = document.load(yaml.safe_dump(_whole()))
    assert set(_whole()) == {*SERVICES, "silences", "maintenances", "inhibitions", "calendars"}
    assert all("is over" in warning for warning in document.check(declared, {}))


@pytest.mark.parametrize("heading", MODELS)
def test_the_tables_are_the_models(heading: str) -> None:
    """Each table lists a model's fields in order, with their defaults."""
    text = section(PAGE, heading).partition("\n### ")[0].partition("\n| Rule |")[0]
    rows = [(codes(row[0])[0], row[1]) for row in table(text)]
    assert rows == [(name, _default(field)) for name, field in MODELS[heading].model_fields.items()]


def test_the_bounds_are_those_of_the_code() -> None:
    """Numbers in the text."""
    assert f"longer than {LONG_DAYS} days ({LONG_RECURRING_DAYS} with a recurrence). More than {MAX_DAYS}" in PAGE
    assert f"over for more than {KEPT_DAYS} days" in PAGE
    assert f"at most {MAX_HOLIDAYS} |" in PAGE
    assert f"at most {MAX_ICS} characters" in PAGE
    assert f"at most {silences._READ:,} incidents" in PAGE


def test_the_fields_of_an_incident_are_listed() -> None:
    """All of them, and which are not narrow."""
    listed = PAGE.partition("not the alert: ")[2].partition("; any other")[0]
    assert set(codes(listed)) == set(INCIDENT_FIELDS)
    guard = PAGE.partition("says `everything: true`. ")[2].partition(" are not narrow")[0]
    assert set(codes(guard)) == BROAD


def test_each_rule_begins_when_the_page_says() -> None:
    """The first two dates of 2026, by hand."""
    text = section(PAGE, "Recurrence").partition("\n\n| Rule |")[2]
    found = {}
    for rule, _ in table("| Rule |" + text.partition("\n\n")[0]):
        each = Recurrence(rrule=codes(rule)[0], zone="UTC", start="10:00", duration=60)
        first = date(2026, 1, 1)
        found[codes(rule)[0]] = [str(day) for day in islice(each.dates(first, first, date(2027, 1, 1)), 2)]
    assert found == {
        "FREQ=DAILY": ["2026-01-01", "2026-01-02"],
        "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR": ["2026-01-01", "2026-01-02"],
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU": ["2026-01-04", "2026-01-18"],
        "FREQ=MONTHLY;BYDAY=2TU": ["2026-01-13", "2026-02-10"],
        "FREQ=MONTHLY;BYMONTHDAY=-1": ["2026-01-31", "2026-02-28"],
        "FREQ=MONTHLY;BYMONTH=3,6,9,12;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1": ["2026-03-31", "2026-06-30"],
    }


def test_the_calendar_of_the_page() -> None:
    """Open before and after lunch, closed on the holidays of the list and of the file."""
    office = document.load(yaml.safe_dump(_whole()))["calendar/default/office"]
    assert isinstance(office, Calendar)
    assert inside(office, ms("2026-12-01T08:00"))  # nine o'clock in Berlin
    assert not inside(office, ms("2026-12-01T11:30"))
    assert not inside(office, ms("2026-12-25T10:00"))
    assert office.closed == {date(2026, 12, 25), date(2027, 1, 1), date(2027, 5, 1)}


@pytest.mark.stack
def test_the_commands_of_the_page_work(reader: Reader, tmp_path: Any) -> None:
    """A preview, a silence and a maintenance from their beginning to their end."""
    path = tmp_path / "services.yaml"
    path.write_text(yaml.safe_dump(SERVICES))
    reader.bash(f"stormweir apply -f '{path}'")
    assert "a day (of the last 30 days)" in reader.bash(PREVIEW)
    for command, code, state in (("silences", ADD, "new switch"), ("maintenance", START, "network")):
        told = reader.bash(code)
        name = told.split()[0]
        assert any(line.startswith(name) and state in line for line in told.splitlines())
        # The pages share one installation, so others' silences may be there too.
        states = {row["id"]: row["state"] for row in json.loads(reader.bash(f"stormweir {command} list --json"))}
        assert states[name] == "active"
        assert "ended" in reader.bash(f"stormweir {command} end {name}")
        assert name not in {row["id"] for row in json.loads(reader.bash(f"stormweir {command} list --json"))}
