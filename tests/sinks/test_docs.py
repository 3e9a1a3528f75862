"""docs/webhooks.md tells the truth."""

import json
import re
import time
from pathlib import Path

import pytest
import yaml

from sinks import template
from sinks.channels.webhook import CHANNEL, WebhookDestination, render
from sinks.contract import by_status
from sinks.outbound import Answer, ErrorCode
from tests.sinks.samples import destination, message

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "webhooks.md").read_text()


@pytest.mark.parametrize("secret", ["a plain secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_the_sample_verifier_verifies(secret: str) -> None:
    """The Python sample accepts what we send and refuses a changed body."""
    [sample] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(sample, names)  # the page's own code
    now = int(time.time() * 1000)
    [request] = render(message(now=now), destination("https://example.com", secret=secret), "")
    verify = names["verify"]
    assert callable(verify)
    assert verify(secret, request.headers, request.body) is True
    assert verify(secret, request.headers, request.body + b" ") is False


def test_the_bodies_are_the_golden_ones() -> None:
    """Each body on the page is the golden file of its template."""
    bodies = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    golden = [
        (ROOT / "tests/sinks/golden" / f"{name}.json").read_text()
        for name in ("stormweir-v1", "cortif-v1", "opsknight-v1")
    ]
    assert bodies == golden


def test_the_templates_of_the_page_apply() -> None:
    """What the page shows as a configuration is valid; the sample template makes JSON of the sample incident."""
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
    _, chat = [WebhookDestination.model_validate(one) for each in shown for one in each["destinations"]]
    [request] = render(message(), chat, "")
    assert json.loads(request.body) == {"text": 'Disk "full" on db-1 \u2603', "team": "nobody", "labels": ["env"]}


def test_the_limits_of_templates_are_told() -> None:
    """Filters, tests and limits on the page are those of the code."""
    about = TEXT.partition("## A template of your own")[2]
    for limit in (template.MAX_TEMPLATE, template.MAX_OUTPUT, template.MAX_STEPS):
        assert f"{limit:,}" in about
    listed = re.search(r"these filters: (.*?); the tests (.*?)\. Everything", about, re.DOTALL)
    assert listed
    filters, tests = (set(re.findall(r"`(\w+)`", part)) for part in listed.groups())
    assert filters == {name for name in template.ENVIRONMENT.filters if " " not in name}
    assert tests == set(template.ENVIRONMENT.tests)


def test_every_error_of_an_attempt_is_listed() -> None:
    """Whatever an attempt's error can be is named on the page."""
    reasons = {by_status(Answer(status)).reason for status in range(200, 600)} | set(ErrorCode) | set(CHANNEL.help)
    assert not [reason for reason in reasons if reason and f"`{reason}`" not in TEXT]
