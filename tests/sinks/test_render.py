"""The bodies of the webhook templates."""

import json
import re
from pathlib import Path
from typing import get_args

import orjson
import pytest

from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import Transition
from sinks.channels.webhook import WebhookDestination
from sinks.render import TEMPLATES, body
from tests.sinks.samples import message, notification

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("template", TEMPLATES)
def test_body_is_the_golden_one_in_field_order(template: str) -> None:
    """Each template's body is its golden file: the same fields, types and order."""
    got = json.loads(body(template, message()))
    assert json.dumps(got) == json.dumps(json.loads((GOLDEN / f"{template}.json").read_bytes()))


def test_every_template_a_destination_may_name_exists() -> None:
    """What validates as a destination's template can be rendered, and nothing else exists."""
    elsewhere = {"pagerduty-v2", "custom"}
    assert set(get_args(WebhookDestination.model_fields["template"].annotation)) == set(TEMPLATES) | elsewhere


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_test_is_marked(template: str) -> None:
    """Contract A22: the body of a test is the template's, with `test` as true; no other body has that field."""
    plain = orjson.loads(body(template, message()))
    assert orjson.loads(body(template, message()._replace(test=True))) == plain | {"test": True}
    assert "test" not in plain


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("transition", Transition)
def test_event_names_the_transition(template: str, transition: Transition) -> None:
    """`event` is alert.<transition> for cortif-v1 and incident.<transition> for the others."""
    subject = "alert" if template == "cortif-v1" else "incident"
    assert orjson.loads(body(template, message(notification(transition=transition))))["event"] == (
        f"{subject}.{transition}"
    )


def test_opsknight_writes_status_and_urgency_in_capitals() -> None:
    """A resolved incident of low severity is RESOLVED and LOW, with nobody assigned."""
    sent = notification(transition=Transition.RESOLVED, status=Status.RESOLVED, severity=Severity.WARNING)
    incident = orjson.loads(body("opsknight-v1", message(sent)))["incident"]
    assert (incident["status"], incident["urgency"], incident["assignee"]) == ("RESOLVED", "LOW", None)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("at", [1, 2**62])
def test_any_time_has_a_text(template: str, at: int) -> None:
    """Times that no calendar knows become the last one it does: a sender's clock never stops a delivery."""
    content = body(template, message(notification(opened_at=at, last_alert_at=at))).decode()
    times = re.findall(r'"(?:started_at|opened_at|timestamp)":"([^"]*)"', content)
    assert times
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", text) for text in times)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_link_starts_with_the_base_url(template: str) -> None:
    """Links are under the configured base URL whatever a service or incident is called."""
    content = body(template, message(notification(service="../../evil?x#y"))).decode()
    links = re.findall(r'"(https?:[^"]*)"', content)
    assert links
    assert all(re.fullmatch(r"https://stormweir\.example\.com/[a-z]+/[\w.%-]+", link) for link in links)
