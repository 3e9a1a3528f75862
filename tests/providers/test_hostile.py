"""No body, however it is made, gets anything out of a provider but drafts within the limits or a BadBody."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.alert import RawEvent
from schemas.codec import decode_raw, encode
from schemas.control import FieldMapping
from streams.providers import PROVIDERS, BadBody, Context

SLUGS = sorted(PROVIDERS)
EXAMPLES = [(slug, example.body) for slug in SLUGS for example in PROVIDERS[slug].examples]
DEEP = 200_000

HOSTILE = {
    "deep list": b"[" * DEEP + b"]" * DEEP,
    "deep object": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "infinite": b"1e400",
    "huge": b"9" * 5000,
    "nul": b'"a\\u0000b"',
    "lone surrogate": b'"\\ud800 x"',
    "reversed surrogates": b'"\\udc00\\ud800"',
    "not UTF-8": b'"\xff\xfe"',
    "control character": b'"\x01"',
    "not a number": b"NaN",
    "truncated": b'{"a":',
    "null": b"null",
}
PLACES = {
    "events_v2": b'{"event_action":"trigger","dedup_key":"k","payload":{"summary":"s","source":"x",%b},%b}',
    "prometheus": b'{"alerts":[{"status":"firing","labels":{"a":"b"},%b}],%b}',
    "webhook": b'{"nested":{%b},%b}',
}
FIELDS = {
    "events_v2": ("summary", "timestamp", "custom_details", "severity", "routing_key", "links", "unknown"),
    "prometheus": ("labels", "annotations", "startsAt", "fingerprint", "groupKey", "alerts", "unknown"),
    "webhook": ("summary", "severity", "dedup_key", "action", "source", "unknown"),
}


def check(slug: str, body: bytes) -> None:
    """Drive one body through everything the gateway and the stage do with it."""
    provider = PROVIDERS[slug]
    raw = RawEvent("default", "shop", "0" * 32, slug, bytes(16), 1, body)
    assert decode_raw(encode(raw)) == raw
    try:
        drafts = provider.drafts(raw, FieldMapping())
    except BadBody as error:
        bad: BadBody | None = error
    else:
        bad = None
    if bad is not None:
        assert bad.path
        assert bad.reason
        return
    context = Context(raw.event_id, {}, FieldMapping())
    assert provider.order_key(provider.decode(body, context), context)
    for draft in drafts:
        assert 1 <= len(draft.dedup_key) <= 255
        assert 1 <= len(draft.summary) <= 1024 or draft.action != draft.action.TRIGGER
        assert draft.starts_at >= 0
        encode(draft)
        draft.details.decode()


@pytest.mark.parametrize("name", sorted(HOSTILE))
@pytest.mark.parametrize("slug", SLUGS)
def test_hostile_values_anywhere_never_raise(slug: str, name: str) -> None:
    """Depth bombs, NUL, broken surrogates, 1e400 and the like: as the body, and in every field."""
    check(slug, HOSTILE[name])
    for field in FIELDS[slug]:
        pair = b'"%b":%b' % (field.encode(), HOSTILE[name])
        check(slug, PLACES[slug] % (pair, b'"x":1'))
        check(slug, PLACES[slug] % (b'"x":1', pair))


@pytest.mark.parametrize(("slug", "body"), EXAMPLES)
def test_every_truncation_is_refused(slug: str, body: bytes) -> None:
    """A body cut at any byte is a BadBody, never half an alert."""
    context = Context(bytes(16), {}, FieldMapping())
    for end in range(len(body)):
        with pytest.raises(BadBody):
            PROVIDERS[slug].decode(body[:end], context)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(EXAMPLES), st.data())
def test_mutated_examples_never_raise(example: tuple[str, bytes], data: st.DataObject) -> None:
    """Examples with bytes replaced, removed and inserted give drafts or a BadBody."""
    slug, body = example
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.binary(max_size=4)) + body[at + data.draw(st.integers(0, 4)) :]
    check(slug, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(EXAMPLES), JSON, st.data())
def test_examples_with_any_value_in_any_field_never_raise(
    example: tuple[str, bytes], value: object, data: st.DataObject
) -> None:
    """An example whose fields, at any depth, hold any JSON gives drafts or a BadBody."""
    slug, body = example
    root = json.loads(body)
    node = root
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = value
    check(slug, json.dumps(root).encode())
