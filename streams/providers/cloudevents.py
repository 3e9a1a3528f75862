"""CloudEvents 1.0 over HTTP (https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md).

Structured, batch and binary mode. The key is source and subject. Without a subject, only the event's own fields say
that two events are about one thing. Then the key is source, the type without its last word (which is the action) and
the names in data and extensions (`rule`, `hostname`, ...), as in Falcosidekick's events
(https://github.com/falcosecurity/falcosidekick/blob/master/outputs/cloudevents.go). If there are no names, and neither
type nor data tells an action, the key also has the `id`, which is new on every event.

`time` is by definition when this very occurrence happened. Severity: `data.severity`, `priority`, then the extension.
"""

import base64
import re
from collections.abc import Mapping
from string import ascii_letters
from typing import Any
from urllib.parse import unquote

from schemas.wire.alert import Action, Severity
from streams.providers._contract import (
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    as_decoded,
    joined_key,
    make_draft,
)
from streams.providers._fields import Fields, as_object, labels_of, link, nested_json, read_json, text
from streams.providers._json import encode
from streams.providers._time import epoch_ms

_ATTRIBUTES = (
    *("specversion", "id", "source", "type", "subject", "time", "severitytext", "severitynumber"),
    *("rule", "priority", "hostname"),  # the extensions of Falcosidekick
)
#: Fields in data or extensions that name a thing, one from each line; they are the same on an event and its end.
_NAMES = (
    ("rule", "rule_name", "ruleName", "alertname", "alert_name", "alertName", "check", "name"),
    ("hostname", "host", "instance", "node", "resource", "device", "resource_id", "resourceId"),
)
_VERSION = re.compile(r"[._/-]v\d+(?:(?:alpha|beta)\d+)?$")
#: The content type of the binding, and those of people who paste an event into a command.
_STRUCTURED = {"application/cloudevents+json", "application/json", ""}
_WORDS = {
    Action.TRIGGER: "triggered trigger firing fired fire alerting alert alarm open opened created active problem "
    "failed failure error down unhealthy degraded",
    Action.ACKNOWLEDGE: "acknowledged acknowledge acked ack",
    Action.RESOLVE: "resolved resolve ok closed close recovered recovery cleared inactive "
    "succeeded successful success up healthy normal",
}
_ACTIONS = {word: action for action, words in _WORDS.items() for word in words.split()}
#: Falco's priority that is not a severity elsewhere: it is above critical.
_FALCO = {"alert": "critical"}
#: The lowest severity number of each level
#: (https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/severity.md).
_NUMBERS = ((21, Severity.CRITICAL), (17, Severity.ERROR), (13, Severity.WARNING), (1, Severity.INFO))


def _decode(body: bytes, context: Context) -> list[Draft]:
    kind = context.content_type.partition(";")[0].strip().lower()
    if kind.startswith("application/cloudevents-batch"):
        events = read_json(body)[0]
        if not isinstance(events, list):
            raise BadBody("body", "is not a list")
        drafts = [_draft(as_object(item, str(index)), f"{index}.", context) for index, item in enumerate(events)]
    elif "ce-specversion" in context.headers and not kind.startswith("application/cloudevents"):
        drafts = [_draft(_binary(body, kind, context.headers), "", context)]
    elif kind not in _STRUCTURED:
        raise BadBody("content-type", "is none of CloudEvents: structured or batch in JSON, or binary with ce- headers")
    else:
        drafts = [_draft(as_object(read_json(body)[0]), "", context)]
    found = [draft for draft in drafts if draft is not None]
    if not found:
        raise NoAlert("ignored")
    return found


def _binary(body: bytes, kind: str, headers: Mapping[str, str]) -> Fields:
    """The event whose attributes are headers."""
    event: dict[str, Any] = {name: _header(headers[f"ce-{name}"]) for name in _ATTRIBUTES if f"ce-{name}" in headers}
    if kind == "application/json" or kind.endswith("+json") or (not kind and body[:1] in {b"{", b"["}):
        event["data"] = read_json(body)[0]
    elif body:
        event["data"] = _utf8(body, "body")
    return Fields(event)


def _header(value: str) -> str:
    """An attribute's value from a header: without its quotation marks, and percent-decoded once."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return unquote(value, errors="replace")


def _draft(event: Fields, place: str, context: Context) -> Draft | None:
    """The alert of an event, None if its status is neither that of an alert nor that of its end."""
    if not event.text("specversion").startswith("1."):
        raise BadBody(f"{place}specversion", "is not 1.0")
    for name in ("source", "type"):
        if not event.text(name):
            raise BadBody(f"{place}{name}", "is required")
    data, kind, source = _data(event, place), event.text("type"), event.text("source")
    plain = _VERSION.sub("", kind)
    stem = plain.rstrip(ascii_letters)
    last = _ACTIONS.get(plain[len(stem) :].lower())
    status = data.text("status", "state", "action").lower()
    action = _ACTIONS.get(status, last)
    if action is None and status:
        return None
    subject = event.text("subject")
    family = kind if last is None else stem.rstrip("._/-")
    names = tuple(name for paths in _NAMES if (name := data.text(*paths) or event.text(*paths)))
    # An event that names nothing and tells no action is an alert of its own.
    single = () if names or action is not None else (event.text("id"),)
    at = epoch_ms(event.text("time"))
    return make_draft(
        dedup_key=joined_key(source, subject) if subject else joined_key(source, "", family, *names, *single),
        action=action or Action.TRIGGER,
        severity=_severity(event, data, context),
        summary=data.text("summary", "title", "message", "description")
        or _ruled(data.text("rule") or event.text("rule"), data.text("output"))
        or subject
        or kind,
        source=data.text("host", "hostname", "instance", "source") or source,
        component=data.text("component", "service") or subject,
        group=data.text("group", "cluster"),
        class_=kind,
        labels=labels_of(data.get("labels")),
        details=encode(event.values),
        links=link(data.text("url", "link"), "Source"),
        starts_at=at,
        ends_at=at,
        sent_at=at,
    )


def _ruled(rule: str, output: str) -> str:
    """A rule and its output; the output alone if it contains the rule."""
    return output if rule in output else ": ".join(part for part in (rule, output) if part)


def _data(event: Fields, place: str) -> Fields:
    """The fields of the payload; a text becomes the field `message`."""
    value = event.get("data")
    encoded = event.get("data_base64")
    if isinstance(encoded, str) and value is None:
        try:
            decoded = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise BadBody(f"{place}data_base64", "is not Base64") from None
        value = _utf8(decoded, f"{place}data_base64")
    nested = nested_json(value)
    return Fields(nested if isinstance(nested, dict) else {"message": text(value)})


def _utf8(value: bytes, path: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadBody(path, "is not UTF-8") from None


def _severity(event: Fields, data: Fields, context: Context) -> Severity:
    word = data.text("severity", "priority") or event.text("severitytext", "priority")
    word = _FALCO.get(word.lower(), word)
    number = event.text("severitynumber")
    if not word and number.isdecimal() and len(number) < 3:
        known = next((severity for least, severity in _NUMBERS if least <= int(number) <= 24), None)
        return known or context.severity("")
    return context.severity(word)


def _order_key(drafts: list[Draft], context: Context) -> str:
    # The order key is the source: a sender may send an alert in a batch, and the same alert alone the next time.
    return drafts[0].dedup_key.partition("|")[0] or drafts[0].dedup_key


PROVIDER = Provider(
    slug="cloudevents",
    title="CloudEvents",
    docs_url="https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md",
    decode=_decode,
    parse=as_decoded,
    order_key=_order_key,
    methods=("POST", "OPTIONS"),
    batch=True,
    headers=("content-type", *(f"ce-{name}" for name in _ATTRIBUTES)),
    setup=(
        "Send CloudEvents 1.0 with POST to the integration's URL, in binary, structured or batch mode.",
        "Give what the event is about as subject: source and subject join an alert and its end.",
        "Say the action in data.status or as the last word of the type (com.example.disk.resolved); without either it "
        "is a trigger. data.summary, data.severity and data.host are used when they are there.",
    ),
    fields=(
        (
            "dedup_key",
            "`source` and `subject`; without a subject `source`, `type` without its last word, and rule and host of "
            "data or extensions; `id` where nothing of this is there and no end is told",
        ),
        ("action", "`data.status`, `data.state`, `data.action`, else the last word of `type`, else trigger"),
        ("severity", "`data.severity`, `data.priority`, `severitytext`, `priority`, `severitynumber`"),
        (
            "summary",
            "`data.summary`, `data.title`, `data.message`, `data.description`, `data.output`, `subject`, `type`",
        ),
        ("source", "`data.host`, `data.hostname`, `data.instance`, `data.source`, `source`"),
        ("component", "`data.component`, `data.service`, `subject`"),
        ("group", "`data.group`, `data.cluster`"),
        ("class", "`type`"),
        ("labels", "`data.labels`"),
        ("links", "`data.url`, `data.link`"),
        ("starts_at", "`time`"),
        ("ends_at", "`time` of an end"),
        ("sent_at", "`time`"),
    ),
    severity_note="data.severity, data.priority, severitytext, then priority, in the words everyone knows; then the "
    "number: 21 to 24 critical, 17 to 20 error, 13 to 16 warning, 1 to 12 info; else the integration's default.",
    key_scope="installation",
    key_reason="a source may be the name of a product (https://falco.org) that every cluster has",
    retries=(),
    retries_note="CloudEvents leaves it to the sender: Knative sends again after 429 and 503, Falcosidekick does not",
    examples=(
        Example(
            b'{"specversion":"1.0","id":"e-1","source":"/lab/thermo","type":"lab.freezer.triggered",'
            b'"subject":"freezer-2","time":"2026-11-06T17:31:00Z","severitynumber":18,'
            b'"data":{"summary":"Freezer 2 is at -9 C","host":"lab-gw"}}',
            ((Action.TRIGGER, "/lab/thermo|freezer-2"),),
            {"content-type": "application/cloudevents+json"},
        ),
        Example(
            b'{"summary":"Freezer 2 is cold again"}',
            ((Action.RESOLVE, "/lab/thermo|freezer-2"),),
            {
                "content-type": "application/json",
                "ce-specversion": "1.0",
                "ce-id": "e-2",
                "ce-source": "/lab/thermo",
                "ce-type": "lab.freezer.resolved",
                "ce-subject": "freezer%2D2",
            },
        ),
        Example(
            b'[{"specversion":"1.0","id":"1","source":"/a","type":"a.disk.full","data":{"status":"unheard of"}},'
            b'{"specversion":"1.0","id":"2","source":"/a","type":"a.disk.acknowledged","data":"seen"}]',
            ((Action.ACKNOWLEDGE, "/a||a.disk"),),
            {"content-type": "application/cloudevents-batch+json; charset=utf-8"},
        ),
        Example(b"[]", (), {"content-type": "application/cloudevents-batch+json"}, "ignored"),
    ),
)
