"""docs/channels and docs/not-sending.md: written from the channels, and true."""

import json
import re
from typing import Any

import pytest
import yaml

from schemas.wire.notification import Outcome
from sinks.channels import CHANNELS
from sinks.channels.webhook import render
from sinks.contract import COMMON_HELP, SKIP_HELP
from streams.cli import _channel_pages
from streams.control import document
from streams.control.alertmanager import convert
from streams.control.kinds import validate
from tests.docs.conftest import Reader
from tests.docs.page import ROOT, blocks, codes, read, section, table
from tests.sinks.samples import message

SLUGS = list(CHANNELS)
FOLDER = ROOT / "docs" / "channels"
WRITTEN = _channel_pages.pages(CHANNELS.values())
MIGRATION = "from-alertmanager.md"
#: Where the engine gives a reason: the outbox's modules.
ENGINE = "\n".join(path.read_text() for path in (ROOT / "sinks" / "outbox").glob("*.py"))


def test_every_page_is_written_and_no_other() -> None:
    """The folder has the pages that `stormweir channels --docs docs/channels` writes, and the migration notes."""
    there = {path.name: path.read_text() for path in FOLDER.iterdir()}
    del there[MIGRATION]
    assert there == WRITTEN, "run: stormweir channels --docs docs/channels"


@pytest.mark.parametrize("slug", SLUGS)
def test_a_page_has_what_somebody_needs(slug: str) -> None:
    """What to click, every field with its meaning, an example that applies, and every error with what to do."""
    channel, text = CHANNELS[slug], WRITTEN[f"{slug}.md"]
    assert text.splitlines()[1] == f"# {channel.title}"
    assert text.count("\n1. ") == 1
    fields = {codes(row[0])[0]: row[2] for row in table(section(text, "What to fill in here").split("\n`id`")[0])}
    common = {codes(row[0])[0] for row in table(section(WRITTEN["README.md"], "Every destination"))}
    assert set(fields) == set(channel.settings.model_fields) - common
    assert all(fields.values())
    examples = blocks(section(text, "What to fill in here"), "yaml")
    assert len(examples) == len(channel.examples)
    for example in examples:
        [record] = document.load(example).values()
        assert isinstance(record, channel.settings)
    told = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", section(text, "What each error means"), re.MULTILINE)
    assert [name for name, _, _ in told] == list(channel.help)


def test_the_list_leads_to_every_page() -> None:
    """README.md has a row for each channel, and every shared reason."""
    text = WRITTEN["README.md"]
    assert {codes(row[1])[0] for row in table(text.partition("## Every")[0])} == set(SLUGS)
    errors = re.findall(r"^\| `(\w+)` \|", section(text, "What each error means"), re.MULTILINE)
    assert errors == [*COMMON_HELP, *SKIP_HELP]


def test_every_reason_of_the_engine_is_explained() -> None:
    """Why the engine does not send is in the help: each reason that its modules name."""
    skipped = re.findall(r'skipped\([^)]*"(\w+)", now\)', ENGINE)
    named = {*skipped, *re.findall(r'(?:error|reason)="(\w+)"', ENGINE)}
    assert named >= {"digest", "superseded", "unknown_destination", "resolved_before_sent"}
    assert named - {"undelivered"} <= set(SKIP_HELP) | set(COMMON_HELP)


def test_not_sending_names_reasons_that_exist() -> None:
    """The causes that are met most, and the outcomes, are those of the code."""
    page = read("docs/not-sending.md")
    reasons = {*COMMON_HELP, *SKIP_HELP, *(reason for each in CHANNELS.values() for reason in each.help)}
    causes = page.partition("The causes that are met most:")[2]
    for row in table(causes):
        assert codes(row[0])
        assert set(codes(row[0])) <= reasons
    outcomes = table(section(page, "4. What became of it?").partition("What each")[0])
    named = {word for outcome, _ in outcomes for word in codes(outcome)}
    assert named == {str(outcome) for outcome in Outcome}


@pytest.mark.stack
@pytest.mark.parametrize("number", range(2))
def test_the_questions_of_not_sending_are_answered(reader: Reader, number: int) -> None:
    """ClickHouse takes both queries of the page."""
    reader.sql(blocks(read("docs/not-sending.md"), "sql")[number])


def _migrated() -> list[dict[str, Any]]:
    """The blocks of the migration notes that are ours."""
    found = [yaml.safe_load(block) for block in blocks(read(f"docs/channels/{MIGRATION}"), "yaml")]
    return [each for each in found if "destinations" in each]


def test_the_migration_notes_apply() -> None:
    """Every destination of a channel that is there is valid, and the routes lead to them."""
    known = set()
    for each in _migrated():
        for destination in each["destinations"]:
            if destination["type"] in CHANNELS:
                validate("destination", destination)
                known.add(destination["type"])
    assert known >= {"pagerduty", "teams", "webhook"}
    routes = next(each for each in _migrated() if "routes" in each)
    document.check(document.load(yaml.safe_dump(routes)), {})


def test_the_routes_of_the_migration_notes_are_what_import_makes() -> None:
    """The two files side by side: Alertmanager's, and what becomes of it."""
    theirs, ours = (yaml.safe_load(block) for block in blocks(read(f"docs/channels/{MIGRATION}"), "yaml")[:2])
    receivers = [{"name": each["id"], "webhook_configs": [{"url": "http://x"}]} for each in ours["destinations"]]
    made = yaml.safe_load(convert(yaml.safe_dump({**theirs, "receivers": receivers})).text)
    assert made["routes"] == ours["routes"]


def test_alertmanager_s_body_is_made() -> None:
    """The template of the notes makes the parts of Alertmanager's body that receivers read."""
    [entry] = [one for each in _migrated() for one in each["destinations"] if one["id"] == "old-receiver"]
    [request] = render(message(), validate("destination", entry), "")  # type: ignore[arg-type]
    body = json.loads(request.body)
    assert (body["version"], body["status"]) == ("4", "firing")
    [alert] = body["alerts"]
    assert alert["labels"] == {"env": "prod"}
    assert alert["annotations"]["summary"] == 'Disk "full" on db-1 ☃'
    assert (alert["startsAt"], alert["endsAt"]) == ("2025-10-09T08:48:20.000Z", "0001-01-01T00:00:00Z")
