"""Every provider keeps its own word: what its examples declare, and the three formats case by case."""

import json
from collections.abc import Mapping

import pytest

from schemas.control import FieldMapping
from schemas.wire.alert import Action, RawEvent, Severity
from streams.providers import PROVIDERS, BadBody, Context, Draft, NoAlert, find

EVENT_ID = bytes(range(16))
SLUGS = sorted(PROVIDERS)


def drafts(
    slug: str, body: object, mapping: FieldMapping | None = None, headers: Mapping[str, str] | None = None
) -> list[Draft]:
    """The drafts of a body, given as bytes or as a value to write as JSON."""
    provider = find(slug)
    assert provider is not None
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    event = RawEvent("default", "shop", "0" * 32, slug, EVENT_ID, 1, raw, dict(headers or {}))
    return provider.drafts(event, mapping or FieldMapping())


def refused(slug: str, body: object) -> str:
    """The path of the field for which a body is refused."""
    with pytest.raises(BadBody) as caught:
        drafts(slug, body)
    return caught.value.path


def trigger(**payload: object) -> dict[str, object]:
    """A minimal Events API trigger with these payload fields changed."""
    fields = {"summary": "Disk full", "source": "db-1", **payload}
    return {"event_action": "trigger", "dedup_key": "k", "payload": fields}


@pytest.mark.parametrize("slug", SLUGS)
def test_every_example_gives_the_alerts_it_declares(slug: str) -> None:
    """A provider has examples, and each of them gives the actions and keys, or the silence, written beside it."""
    provider = PROVIDERS[slug]
    assert len(provider.examples) >= 2
    for example in provider.examples:
        assert set(example.headers) <= set(provider.headers)
        if example.silence is not None:
            context = Context(EVENT_ID, example.headers, FieldMapping())
            with pytest.raises(NoAlert) as caught:
                provider.decode(example.body, context)
            assert (caught.value.kind, example.alerts) == (example.silence, ())
            assert caught.value.answer
        found = tuple((draft.action, draft.dedup_key) for draft in drafts(slug, example.body, None, example.headers))
        assert found == example.alerts


@pytest.mark.parametrize("slug", SLUGS)
def test_every_provider_says_all_about_itself(slug: str) -> None:
    """The catalogue can be made of the declarations alone: title, steps, severities, and a single key where it fits."""
    provider = PROVIDERS[slug]
    assert provider.slug == slug
    assert provider.title
    assert provider.setup
    assert provider.severity_note
    assert provider.docs_url.startswith("https://") or slug in {"webhook", "custom"}
    assert all(name == name.lower() for name in provider.headers)
    for example in provider.examples:
        if not provider.batch and example.alerts:
            context = Context(EVENT_ID, example.headers, FieldMapping())
            assert provider.order_key(provider.decode(example.body, context), context) == example.alerts[0][1]


def test_an_unknown_slug_has_no_provider() -> None:
    """`find` answers None, so a route can say 404."""
    assert find("nobody") is None


def test_events_trigger_maps_every_field() -> None:
    """All the fields of an Events API trigger reach the draft; details stay JSON as they were sent."""
    body = {
        "event_action": "trigger",
        "dedup_key": "srv/cpu",
        "client": "mon",
        "client_url": "https://mon.example",
        "links": [{"href": "https://example.com/", "text": "graph"}],
        "images": [{"src": "https://example.com/g.png", "alt": "g"}],
        "payload": {
            "summary": "High CPU",
            "source": "web-01",
            "severity": "critical",
            "timestamp": "2026-11-06T08:42:58.315+0000",
            "component": "postgres",
            "group": "prod",
            "class": "cpu",
            "custom_details": {"nested": [1, {"a": None}]},
        },
    }
    assert drafts("events_v2", body) == [
        Draft(
            dedup_key="srv/cpu",
            action=Action.TRIGGER,
            severity=Severity.CRITICAL,
            summary="High CPU",
            source="web-01",
            component="postgres",
            group="prod",
            class_="cpu",
            details=b'{"nested": [1, {"a": null}]}',
            links=[
                {"href": "https://example.com/", "text": "graph"},
                {"src": "https://example.com/g.png", "alt": "g"},
                {"href": "https://mon.example", "text": "mon"},
            ],
            starts_at=1_793_954_578_315,
        )
    ]


def test_events_null_means_not_given() -> None:
    """Senders that write null for what they do not know are served like those that leave it out."""
    body = trigger(severity=None, timestamp=None, component=None, custom_details=None)
    assert drafts("events_v2", {**body, "links": None, "client": None}) == drafts("events_v2", trigger())


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_events_acknowledge_and_resolve_need_only_a_key(action: str) -> None:
    """Action and dedup key are enough, and without the key the field is named."""
    (draft,) = drafts("events_v2", {"event_action": action, "dedup_key": "k"})
    assert (draft.action.name.lower(), draft.dedup_key) == (action, "k")
    assert refused("events_v2", {"event_action": action}) == "dedup_key"


def test_events_trigger_without_a_key_gets_the_event_id() -> None:
    """The generated key is the request's event id, so gateway and stream agree without talking."""
    body = {"event_action": "trigger", "payload": {"summary": "s", "source": "x"}}
    assert drafts("events_v2", body)[0].dedup_key == EVENT_ID.hex()
    assert drafts("events_v2", body)[0].severity is Severity.ERROR


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "event_action"),
        ([], "body"),
        (b"", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        ({"event_action": "explode", "dedup_key": "k"}, "event_action"),
        ({"event_action": "trigger", "dedup_key": "k"}, "payload"),
        (trigger(summary=None), "payload.summary"),
        (trigger(summary=" "), "payload.summary"),
        (trigger(summary=5), "payload.summary"),
        (trigger(source=None), "payload.source"),
        (trigger(severity="fatal"), "payload.severity"),
        ({**trigger(), "links": [{}, {"href": 1}]}, "links.1.href"),
        (b'{"event_action":"resolve","dedup_key":"k","payload":{"custom_details":"\\ud800 "', "body"),
    ],
)
def test_events_refusals_name_the_field(body: object, path: str) -> None:
    """A body that cannot be used is refused with the dotted path of what is wrong."""
    assert refused("events_v2", body) == path


def test_long_summaries_are_cut_and_marked_and_long_keys_hashed() -> None:
    """PagerDuty's limits hold in every draft: 1024 characters, and keys of at most 255."""
    body = trigger(summary="ä" * 2000)
    (draft,) = drafts("events_v2", {**body, "dedup_key": "k" * 256})
    assert draft.summary == "ä" * 1024
    assert draft.labels == {"summary_truncated": "2000"}
    assert len(draft.dedup_key) == 32
    assert drafts("events_v2", {**body, "dedup_key": "k" * 255})[0].dedup_key == "k" * 255


def test_prometheus_counts_the_status_of_each_alert() -> None:
    """A firing group with a resolved member triggers the one and resolves the other."""
    first, second = drafts("prometheus", PROVIDERS["prometheus"].examples[0].body)
    assert (first.action, first.severity, first.source) == (Action.TRIGGER, Severity.WARNING, "api-2:8080")
    assert (first.summary, first.ends_at) == ("p99 above 800ms on api-2", 0)
    assert (second.action, second.summary) == (Action.RESOLVE, "HighLatency")
    assert second.ends_at - second.starts_at == 1_202_000
    assert first.labels["alertname"] == first.class_ == "HighLatency"


def test_prometheus_without_a_fingerprint_hashes_the_labels_in_any_order() -> None:
    """Old senders get a stable key from the labels; other labels get another key."""

    def key(labels: dict[str, str]) -> str:
        return drafts("prometheus", {"alerts": [{"status": "firing", "labels": labels}]})[0].dedup_key

    assert key({"a": "1", "b": "2"}) == key({"b": "2", "a": "1"})
    assert key({"a": "1", "b": "2"}) != key({"a": "1", "b": "3"})
    assert key({"ab": "c"}) != key({"a": "bc"})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "alerts"),
        ({"alerts": [{"status": "firing"}]}, "alerts.0.labels"),
        ({"alerts": [{"status": "odd", "labels": {"a": "b"}}]}, "alerts.0.status"),
        ({"alerts": [{"status": "firing", "labels": {"a": "b"}}, 3]}, "alerts.1"),
        ({"alerts": [{"status": "firing", "labels": {"a": 3}}]}, "alerts.0.labels.*"),
    ],
)
def test_prometheus_refusals_name_the_field(body: object, path: str) -> None:
    """A group is refused whole, with the index of the alert that is wrong."""
    assert refused("prometheus", body) == path


MAPPING = FieldMapping(
    summary="alert.title",
    severity="level",
    dedup_key="ids.0.value",
    action="status",
    source="host.name",
    trigger_values=("fired", "Alert"),
    resolve_values=("ok", "resolved"),
    acknowledge_values=("acked",),
)


def webhook(**fields: object) -> list[Draft]:
    """The drafts of a mapped body with these fields."""
    body = {"alert": {"title": "Batch job late"}, "level": "page", "host": {"name": "batch-3"}, **fields}
    return drafts("webhook", body, MAPPING)


def test_webhook_follows_the_mapping() -> None:
    """Dotted paths and list indexes find the fields, numbers become text, details are the whole body."""
    (draft,) = webhook(ids=[{"value": 991}], status="fired")
    assert (draft.dedup_key, draft.summary, draft.source) == ("991", "Batch job late", "batch-3")
    assert (draft.action, draft.severity) == (Action.TRIGGER, Severity.CRITICAL)
    assert json.loads(draft.details)["ids"] == [{"value": 991}]
    assert webhook(ids=[{"value": "991"}], status="OK")[0].dedup_key == "991"


@pytest.mark.parametrize(
    ("status", "action"),
    [
        ("FIRED", Action.TRIGGER),
        (" alert ", Action.TRIGGER),
        (None, Action.TRIGGER),
        ("ok", Action.RESOLVE),
        ("Resolved", Action.RESOLVE),
        ("acked", Action.ACKNOWLEDGE),
        ("unresolved", None),
        ("broken", None),
        ("not ok", None),
    ],
)
def test_webhook_action_values_match_whole_words(status: str | None, action: Action | None) -> None:
    """Values match exactly but in any case: `unresolved` and `not ok` never resolve anything."""
    assert [draft.action for draft in webhook(status=status)] == ([] if action is None else [action])


def test_webhook_falls_back_where_the_body_is_silent() -> None:
    """Without severity the default, without a key a hash of the words, without anything the event id."""
    (draft,) = drafts("webhook", {"summary": "late", "severity": "colourful"}, FieldMapping(default_severity="info"))
    assert draft.severity is Severity.INFO
    (resolve,) = drafts("webhook", {"summary": "late", "action": "ok"})
    assert resolve.dedup_key == draft.dedup_key
    (bare,) = drafts("webhook", {})
    assert (bare.dedup_key, bare.source, bare.severity) == (EVENT_ID.hex(), "webhook", Severity.ERROR)
    assert bare.summary == f"Alert {EVENT_ID.hex()}"
