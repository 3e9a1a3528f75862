"""The contract of a channel: these tests run over every file in sinks/channels."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from email.message import EmailMessage
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from pydantic import HttpUrl, ValidationError

import sinks.channels
from schemas.control import Destination, control_key, dump, secrets_of
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import MAX_RELATED, Change, Transition
from sinks.channels import CHANNELS
from sinks.contract import COMMON_HELP, Channel, Digest, Message, Request
from sinks.outbound import Answer, ErrorCode
from streams.control import document
from streams.control.kinds import validate
from tests.sinks.samples import BASE_URL, QUEUED_AT, message, notification, related

SLUGS = list(CHANNELS)
#: Texts that are harmful where they are not escaped, and their longest form.
HOSTILE = (
    "<!channel> <@U123> @everyone <at>all</at>",
    "Subject\r\nBcc: all@example.com\r\n\r\nbody",
    "x" * 1022 + "\U0001f6a8\U0001f469\U0001f3fd\u200d\U0001f692",
    "=cmd()|' /C calc'!A0",
    '<img src=x onerror="alert(1)"> </script> & "quoted" \'single\' `tick` \\ back',
    "{{ 7*7 }} ${7*7} {% raw %} [a](https://evil.example) **b** _c_ %s {0}",
    "\x00\x01\x1b[31m\u202e\u2066 bidi \ufeff\u200b",
    "z\u0301" * 20_000,
    "",
    " ",
    "\u96ea" * 4_000,
)
STATUS = {
    Transition.TRIGGERED: Status.OPEN,
    Transition.ESCALATED: Status.OPEN,
    Transition.ACKNOWLEDGED: Status.ACKNOWLEDGED,
    Transition.RESOLVED: Status.RESOLVED,
    Transition.UNACKNOWLEDGED: Status.OPEN,
    Transition.REMINDER: Status.OPEN,
    Transition.SLA_BREACH: Status.OPEN,
    Transition.UPDATED: Status.OPEN,
}
#: What a message can tell: each change alone, and what joins when a destination was away.
TOLD = [
    *((each,) for each in Transition),
    (Transition.TRIGGERED, Transition.ACKNOWLEDGED),
    (Transition.TRIGGERED, Transition.RESOLVED),
    (Transition.ACKNOWLEDGED, Transition.ESCALATED),
    tuple(Transition),
]
BODIES = (b"", b"ok", b"{", b"[]", b"null", b'"text"', b'{"error": 5, "errors": "x", "ok": false}', b"\xff\xfe<html>")


class Case(NamedTuple):
    """An example of a channel, with the destination that it makes."""

    channel: Channel[Any]
    example: Mapping[str, Any]
    settings: Destination


def _case(slug: str, name: str) -> Case:
    channel = CHANNELS[slug]
    example = {"id": "one", **channel.examples[name]}
    settings = validate("destination", example)
    assert isinstance(settings, channel.settings)
    return Case(channel, example, settings)


@pytest.fixture(params=[(slug, name) for slug in SLUGS for name in CHANNELS[slug].examples], ids=": ".join)
def case(request: pytest.FixtureRequest) -> Case:
    """Each example of each channel."""
    return _case(*request.param)


def _messages(severities: Iterable[Severity] = tuple(Severity), **changes: object) -> Iterator[Message]:
    """The sample incident in every situation that a message can tell of."""
    for told, severity, test in product(TOLD, severities, (False, True)):
        status = {"status": STATUS[told[-1]], "severity": severity}
        if told[-1] is Transition.RESOLVED:
            status["resolved_at"] = QUEUED_AT
        yield message(notification(transition=told[-1], **status, **changes))._replace(told=told, test=test)


def _digest(**changes: object) -> Digest:
    incidents: Sequence[Incident] = [
        notification(number, severity=severity, **changes).incident for number, severity in enumerate(Severity)
    ]
    by_severity = dict.fromkeys(Severity, 1_000)
    return Digest("a" * 36, 4_000, by_severity, 12, incidents, BASE_URL.rstrip("/"), QUEUED_AT)


def _wire(requests: Sequence[Any]) -> list[list[object]]:
    """What requests or mails are on the wire, field by field; the boundaries of a mail's parts are random."""
    values = [[getattr(request, field.name) for field in fields(request)] for request in requests]
    return [[_boundless(each) if isinstance(each, EmailMessage) else each for each in row] for row in values]


def _boundless(mail: EmailMessage) -> bytes:
    return re.sub(rb"={15}\d+==", b"boundary", mail.as_bytes())


def _texts(value: object) -> set[str]:
    """The texts in a secret: of a URL, what is not its host."""
    match value:
        case HttpUrl():
            parts = urlsplit(str(value))
            return {text for text in (*parts.path.split("/"), parts.query) if len(text) > 5}
        case Mapping():
            return set().union(*map(_texts, value.values())) if value else set()
        case None:
            return set()
        case _:
            return {str(value)}


def _secrets(settings: Destination) -> set[str]:
    return set().union(*(_texts(getattr(settings, name)) for name in secrets_of(type(settings))))


def test_a_file_is_a_channel() -> None:
    """Every file of the folder is found, and its slug is its name and the `type` of its destinations."""
    files = {path.stem for path in Path(sinks.channels.__file__).parent.glob("[!_]*.py")}
    assert files == set(SLUGS)
    for slug, channel in CHANNELS.items():
        assert channel.slug == slug
        assert channel.settings.model_fields["type"].default == slug
        assert channel.settings.model_config["extra"] == "forbid"


@pytest.mark.parametrize("slug", SLUGS)
def test_what_people_read_is_there(slug: str) -> None:
    """A channel has a title, steps, an example, what each field means, and what each reason means and asks for."""
    channel = CHANNELS[slug]
    assert channel.title
    assert channel.setup
    assert channel.examples
    settings = channel.settings.model_fields
    assert [name for name, field in settings.items() if not field.description and name != "type"] == []
    told = [*channel.setup, *(text for each in channel.help.values() for text in each)]
    assert [text for text in told if not text.endswith((".", "`"))] == []


def test_a_destination_survives_the_topic(case: Case) -> None:
    """What is written to the topic `control` is read as the same destination."""
    assert validate("destination", json.loads(dump(case.settings))) == case.settings


def test_a_wrong_field_is_named(case: Case) -> None:
    """An unknown field and a value of a wrong type are refused under the field's own name, without the value."""
    for name in (*case.example, "no_such_field"):
        if name == "type":
            continue
        with pytest.raises(ValidationError) as caught:
            validate("destination", {**case.example, name: {"wrong": [object()]}})
        assert name in {issue["loc"][0] for issue in caught.value.errors()}
        assert "object at" not in str(caught.value)


def test_what_looks_like_a_secret_is_marked(case: Case) -> None:
    """No field that is named like a credential is without the mark that encrypts and masks it."""
    words = ("secret", "token", "password", "key", "headers", "credentials")
    named = {name for name in case.channel.settings.model_fields if name.endswith(words)}
    assert named <= set(secrets_of(case.channel.settings))


def test_no_secret_is_shown(case: Case) -> None:
    """The destination's repr, its requests' repr, what `apply` prints and errors show no secret."""
    shown = [repr(case.settings), str(case.settings)]
    shown += [repr(case.channel.render(one, case.settings, "")) for one in _messages()]
    key = control_key(case.settings)
    changed = case.settings.model_copy(update={"name": "another"})
    for known in ({}, {key: changed}):
        shown += document.plan({key: case.settings}, known).lines
    with pytest.raises(ValidationError) as caught:
        validate("destination", {**case.example, "name": 5})
    shown.append(str(caught.value))
    for secret in _secrets(case.settings):
        assert not [text for text in shown if secret in text or secret in unquote(text)]


def test_every_reason_is_explained(case: Case) -> None:
    """Whatever is answered, the verdict's reason is one that `help` explains; none raises."""
    answers = [Answer(0, error_code=code) for code in ErrorCode]
    if all(isinstance(each, Request) for each in case.channel.render(message(), case.settings, "")):
        answers += [Answer(status, body=body) for status in range(200, 600) for body in BODIES]
        assert case.channel.classify(Answer(429)).end == "retry"
    verdicts = [case.channel.classify(answer) for answer in answers]
    reasons = {verdict.reason.partition(": ")[0] for verdict in verdicts}
    assert reasons - {""} <= set(case.channel.help) | set(COMMON_HELP)
    assert all(verdict.reason for verdict in verdicts if verdict.end != "done")
    if case.channel.keep is not None:
        assert all(isinstance(case.channel.keep(answer), str) for answer in answers)


def test_a_message_is_rendered_the_same_each_time(case: Case) -> None:
    """Every kind of message gives requests, tests too, and the same message gives the same bytes."""
    for one in _messages():
        requests = case.channel.render(one, case.settings, "")
        assert requests
        assert _wire(requests) == _wire(case.channel.render(one, case.settings, ""))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_rendered(case: Case, text: str) -> None:
    """No text in any field of an incident raises."""
    labels = {text or "label": text, "team": text}
    changes = {"title": text, "source": text, "service": text, "dedup_key": text, "labels": labels}
    for one in _messages([Severity.CRITICAL], **changes):
        assert case.channel.render(one, case.settings, "")
    if case.channel.digest is not None:
        assert case.channel.digest(_digest(**changes), case.settings)


def test_many_labels_are_rendered(case: Case) -> None:
    """An incident with more labels than any vendor takes is a message all the same."""
    labels = {f"label_{number}": "v" * 500 for number in range(3_000)}
    assert case.channel.render(message(notification(labels=labels)), case.settings, "")


def _read(requests: Sequence[Any]) -> list[str]:
    """What the receiver's programs or people read: the text of JSON, or both parts of a mail."""
    texts: list[str] = []
    for request in requests:
        if isinstance(request, Request):
            texts.append(json.dumps(json.loads(request.body), ensure_ascii=False))
        else:
            texts += [request.message.get_body((kind,)).get_content() for kind in ("plain", "html")]
    return texts


def test_other_incidents_are_named(case: Case) -> None:
    """Each by its title, and how many more there are; a template that says what it shows does not."""
    if getattr(case.settings, "template", "stormweir-v1") == "custom":
        return
    named = related(3)
    for change in Change:
        told = message(msgspec.structs.replace(notification(), related=related(3, change=change), more=7))
        first, *_ = texts = _read(case.channel.render(told, case.settings, ""))
        assert all(each.title in text for each in named for text in texts if text is first or "<html" in text)
        assert re.search(r"and 7 more|\"more\": 7", first)
    alone = _read(case.channel.render(message(), case.settings, ""))
    assert not [text for text in alone if "Also" in text or "other incident" in text]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_of_other_incidents_is_rendered(case: Case, text: str) -> None:
    """As many as there can be, with labels beside them: no text raises, and none is taken for markup."""
    others = related(MAX_RELATED, title=text, service=text)
    told = msgspec.structs.replace(notification(labels={"team": text}), related=others, more=10**6)
    requests = case.channel.render(message(told), case.settings, "1503435956.000247")
    assert requests
    for shown in _read(requests):
        assert "<@U123>" not in shown or not case.channel.slug.startswith("slack")
        assert "<img src=x" not in shown or "<html" not in shown


def test_a_summary_is_rendered_the_same_each_time(case: Case) -> None:
    """A channel with summaries renders one, from the same digest the same."""
    if case.channel.digest is None:
        return
    requests = case.channel.digest(_digest(), case.settings)
    assert requests
    assert _wire(requests) == _wire(case.channel.digest(_digest(), case.settings))


def test_limits_name_no_secret(case: Case) -> None:
    """The scopes of rates are no secrets, and refill."""
    for one in _messages():
        for request in case.channel.render(one, case.settings, ""):
            for rate in request.rates:
                assert not [secret for secret in _secrets(case.settings) if secret in rate.scope]
                assert rate.per_second > 0
                assert rate.burst >= 1


@pytest.mark.parametrize("slug", SLUGS)
def test_the_policy_is_sane(slug: str) -> None:
    """A message is tried at least once and for some time, with pauses that grow up to a limit."""
    channel = CHANNELS[slug]
    assert 1 <= channel.concurrency <= 100
    for policy in channel.retry:
        assert policy.attempts >= 1
        assert policy.deadline_s >= 60
        assert 0 < policy.base_s <= policy.most_s <= policy.deadline_s
        assert 0 <= policy.spread[0] <= policy.spread[1] <= 2


@pytest.mark.parametrize("slug", SLUGS)
def test_the_environment_sets_fields_of_the_channel(slug: str) -> None:
    """Variables set fields that exist, and those that are required are among them."""
    channel = CHANNELS[slug]
    assert set(channel.environment.values()) <= set(channel.settings.model_fields)
    assert set(channel.required) <= set(channel.environment)
    assert bool(channel.environment) == bool(channel.required)
