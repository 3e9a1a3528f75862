"""docs/slack.md tells what the channels declare."""

import subprocess
import sys

import pytest
import yaml

from sinks.channels import CHANNELS, slack, slack_webhook
from sinks.fakes import slack as fake
from streams.control.document import load
from tests.docs.page import ROOT, blocks, codes, read, section, table

PAGE = read("docs/slack.md")
WEBHOOKS = "Webhooks of Slack, Mattermost and Rocket.Chat"
COMMON = {"id", "tenant", "type", "name", "enabled", "fallback", "unseen_resolved", "digest_after"}


@pytest.mark.parametrize(("slug", "part"), [("slack", "Settings"), ("slack_webhook", WEBHOOKS)])
def test_every_setting_is_listed(slug: str, part: str) -> None:
    """Names and order are those of the model, and what is required is said to be."""
    rows = table(next(each for each in section(PAGE, part).split("\n\n") if each.strip().startswith("| Field")))
    fields = {name: field for name, field in CHANNELS[slug].settings.model_fields.items() if name not in COMMON}
    assert [codes(row[0])[0] for row in rows] == list(fields)
    assert [row[1] == "required" for row in rows] == [field.is_required() for field in fields.values()]


@pytest.mark.parametrize(("part", "helps"), [("Not sending", slack.HELP), (WEBHOOKS, slack_webhook.HELP)])
def test_every_reason_is_listed(part: str, helps: dict[str, slack.Help]) -> None:
    """A46: the page's table is the code's."""
    text = next(each for each in section(PAGE, part).split("\n\n") if each.strip().startswith("| Reason"))
    assert [(codes(row[0])[0], row[1], row[2]) for row in table(text)] == [
        (reason, help_.means, help_.do) for reason, help_ in helps.items()
    ]


def test_every_example_is_a_configuration() -> None:
    """Each YAML block can be applied."""
    found = blocks(PAGE, "yaml")
    assert len(found) == 3
    for block in found:
        assert load(block)
    tried = yaml.safe_load(found[-1])["destinations"][0]
    assert (tried["bot_token"], tried["channel"] in fake.FakeSlack().channels) == (fake.TOKEN, True)


@pytest.mark.parametrize("slug", ["slack", "slack_webhook"])
def test_every_example_of_a_channel_validates(slug: str) -> None:
    """What the catalogue shows can be used."""
    for example in CHANNELS[slug].examples.values():
        CHANNELS[slug].settings.model_validate({"id": "example", **example})


def test_every_command_is_there() -> None:
    """Each `stormweir slack` command of the page is one."""
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "slack", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    for row in table(section(PAGE, "Set up")):
        assert codes(row[0])[0].split()[2] in done.stdout
