"""The webhook's templates beside its fixed ones: a user's own, and PagerDuty's."""

import json
import time
from typing import Any

import pytest

from schemas.wire.incident import Status
from schemas.wire.notification import Transition
from sinks.channels import webhook
from sinks.channels.webhook import WebhookDestination
from sinks.contract import Message, RenderError, Request
from sinks.template import MAX_OUTPUT, MAX_STEPS, BadTemplateError, fill
from streams.control.document import ConfigurationError, load
from tests.sinks.samples import destination, message, notification

URL = "https://hooks.example.com/in"


def custom(source: str, **fields: object) -> WebhookDestination:
    """A destination with this template."""
    return destination(URL, template="custom", body_template=source, **fields)


def one(settings: WebhookDestination, told: Message | None = None) -> Request:
    """The request of a message."""
    [request] = webhook.render(told or message(), settings, "")
    return request


def test_a_template_has_the_fields_of_the_default_body() -> None:
    """The variables are those of `stormweir-v1`, with what is told and whether it is a test."""
    source = """{
      "text": {{ incident.title|tojson }},
      "all": {{ incident|tojson }},
      "team": {{ incident.labels.team|default("nobody")|tojson }},
      "told": {{ told|tojson }}{% if test %}, "test": true{% endif %},
      "labels": [{% for name, _ in incident.labels|items %}{{ name|tojson }}{{ "," if not loop.last }}{% endfor %}]
    }"""
    settings = custom(source)
    body = json.loads(one(settings).body)
    plain = json.loads(one(destination(URL)).body)
    assert body == {
        "text": plain["incident"]["title"],
        "all": plain["incident"],
        "team": "nobody",
        "told": ["triggered"],
        "labels": ["env"],
    }
    assert json.loads(one(settings, message()._replace(test=True)).body)["test"] is True


def test_a_template_of_another_type() -> None:
    """`content_type` is sent; only JSON is checked for being JSON."""
    form = "application/x-www-form-urlencoded"
    request = one(custom("message={{ incident.title|urlencode }}", content_type=form))
    assert request.headers["Content-Type"] == form
    assert request.body == b"message=Disk%20%22full%22%20on%20db-1%20%E2%98%83"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"body_template": "{{ incident.titel }}"}, "body_template", "titel"),
        ({"body_template": "{{ incident.title"}, "body_template", "line 1"),
        ({"body_template": '{"text": "{{ incident.title }}"}'}, "body_template", "tojson"),
        ({"body_template": "x" * 16_385}, "body_template", "at most 16384"),
        ({}, "body_template", "is needed"),
        ({"template": "stormweir-v1", "body_template": "{}"}, "body_template", "custom alone"),
        ({"template": "stormweir-v1", "content_type": "text/plain"}, "content_type", "custom"),
        ({"body_template": "{}", "content_type": "text/plain\r\nX: y"}, "content_type", "pattern"),
        ({"template": "pagerduty-v2"}, "headers", "Token token="),
        ({"template": "pagerduty-v2", "headers": {"Authorization": "Bearer x"}}, "headers", "Token token="),
    ],
)
def test_a_wrong_template_is_refused_with_its_path(fields: dict[str, Any], field: str, words: str) -> None:
    """`apply` names the list, the entry and the field, and says what is wrong."""
    entry = {"id": "ops", "url": URL, "template": "custom", **fields}
    with pytest.raises(ConfigurationError) as caught:
        load(json.dumps({"destinations": [entry]}))
    [line] = str(caught.value).splitlines()[1:]
    assert line.strip().startswith(f"destinations.0.{field}: ")
    assert words in line


def test_a_template_that_fails_later_is_a_reason() -> None:
    """What no sample showed is refused with a reason that `help` explains, and quotes nothing."""
    settings = custom("{% if incident.alert_count > 5 %}{% for x in incident.alert_count %}{% endfor %}{% endif %}1")
    with pytest.raises(RenderError, match=r"^template_failed$"):
        one(settings)
    assert "template_failed" in webhook.CHANNEL.help


HARMFUL = [
    "{{ incident.__class__ }}",
    "{{ incident.title.__class__.__mro__ }}",
    "{{ ''['__class__'] }}",
    "{{ incident['__init__'] }}",
    "{{ incident.title.format }}",
    "{{ incident.title.upper() }}",
    "{{ incident.items() }}",
    "{{ self }}",
    "{{ self.__init__ }}",
    "{{ range }}",
    "{{ range.__globals__ }}",
    "{% for x in [1] %}{{ loop }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% for x in [1] %}{{ loop.__doc__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop.cycle(1) }}{% endfor %}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler }}",
    "{{ config }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'a' ~ 'b' }}",
    "{{ '{:>1000000000}'|format(1) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'|attr('__class__') }}",
    "{{ [1]|map('upper') }}",
    "{% set x = 1 %}",
    "{% macro m() %}{% endmacro %}",
    "{% include 'x' %}",
    "{% import 'x' as x %}",
    "{% extends 'x' %}",
    "{% block b %}{% endblock %}",
    "{% filter upper %}x{% endfilter %}",
    "{% for x in [1] recursive %}{% endfor %}",
    "{% for range in [1] %}{% endfor %}",
    "{% for x in range(1000000000) %}{% endfor %}",
    "{% for x in range(1000000000) %}{{ loop.length }}{% endfor %}",
    "{{ range(1000000000)|tojson }}",
    "{{ 'a' in range(1000000000) }}",
    "{% for x in range(1000) %}" + "{% if incident.title|upper|length == 1 %}{% endif %}" * 200 + "{% endfor %}",
    "{{ incident.title" + "|tojson" * 100 + "|length }}",
    "{% for x in range(1000) %}{% for y in range(1000) %}{% endfor %}{% endfor %}",
    "{% for x in range(999) %}" + "x" * 500 + "{% endfor %}",
    "{% for x in incident.title %}" * 40 + "{% endfor %}" * 40,
    "{{" + "(" * 5_000 + "1" + ")" * 5_000 + "}}",
    "{% if 1 %}" * 1_200 + "{% endif %}" * 1_200,
    "{{ -" + "- " * 5_000 + "1 }}",
    "{{ incident }}",
    "{{ missing }}",
    "{{ incident.labels|tojson|missing }}",
]


@pytest.mark.parametrize("source", HARMFUL)
def test_a_harmful_template_is_refused(source: str) -> None:
    """Nothing but data can be reached, and nothing can grow or run for long: each is refused at once."""
    variables = {"incident": {"title": "title " * 50, "labels": {}}}
    started = time.process_time()
    with pytest.raises(BadTemplateError) as caught:
        fill(source, variables)
    assert time.process_time() - started < 2
    assert "title title" not in str(caught.value)


def test_the_limits_of_a_template() -> None:
    """The output may have the bytes of the limit, the loops take the steps of theirs, and not one more."""
    assert len(fill("{{ text }}", {"text": "x" * MAX_OUTPUT})) == MAX_OUTPUT
    with pytest.raises(BadTemplateError, match="bytes"):
        fill("{{ text }}", {"text": "x" * (MAX_OUTPUT + 1)})
    loop = "{% for x in items %}{% endfor %}"
    assert fill(loop, {"items": [1] * MAX_STEPS}) == b""
    with pytest.raises(BadTemplateError, match="steps"):
        fill(loop, {"items": [1] * (MAX_STEPS + 1)})
    with pytest.raises(BadTemplateError, match="characters"):
        fill("{{ text|upper|length }}", {"text": "x" * (MAX_OUTPUT + 1)})


@pytest.mark.parametrize("title", ["{{ 7*7 }}", "{% raw %}", '"}, "x": {"', "\\", "\u2028", "{{ incident.title }}"])
def test_data_is_never_read_as_a_template(title: str) -> None:
    """A title with Jinja2 or JSON in it is a text."""
    told = message(notification(title=title))
    assert json.loads(one(custom('{"t": {{ incident.title|tojson }}}'), told).body) == {"t": title}


def test_pagerduty_s_template_has_the_key_of_the_header() -> None:
    """Contract A36: the header `Authorization: Token token=<key>` is sent, and its key is in the body."""
    settings = destination(URL, template="pagerduty-v2", headers={"authorization": "Token token=abc123"})
    request = one(settings)
    assert request.headers["authorization"] == "Token token=abc123"
    body = json.loads(request.body)
    assert (body["routing_key"], body["event_action"]) == ("abc123", "trigger")
    assert body["dedup_key"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_two_requests_have_two_ids() -> None:
    """A receiver that drops repeats by their id must not drop the second of two events."""
    settings = destination(URL, template="pagerduty-v2", headers={"Authorization": "Token token=abc"}, secret="s" * 8)
    told = message(notification(transition=Transition.RESOLVED, status=Status.RESOLVED))
    told = told._replace(told=(Transition.TRIGGERED, Transition.RESOLVED))
    first, second = webhook.render(told, settings, "")
    assert [json.loads(each.body)["event_action"] for each in (first, second)] == ["trigger", "resolve"]
    assert (first.headers["webhook-id"], second.headers["webhook-id"]) == (f"{told.id}-1", told.id)
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
