"""No body, however it is made, gets anything out of a provider but drafts within the limits or a refusal."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.control import FieldMapping
from schemas.wire.alert import Action, RawEvent
from schemas.wire.codec import decode_raw, encode
from streams.providers import PATH, PROVIDERS, BadBody, Context, Draft, Example, NoAlert

SLUGS = sorted(PROVIDERS)
EXAMPLES = [(slug, example) for slug in SLUGS for example in PROVIDERS[slug].examples]
DEEP = 5_000
#: Where a hostile value goes in an example's text.
MARK = "a mark that no example has"


def is_json(example: Example) -> bool:
    """Whether the example's body is a JSON object or list, not a form."""
    return example.body[:1] in {b"{", b"["} and "form" not in example.headers.get("content-type", "")


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


def check(slug: str, body: bytes, example: Example) -> None:
    """Drive one body through everything the gateway and the stage do with it."""
    provider = PROVIDERS[slug]
    raw = RawEvent("default", "shop", "0" * 32, slug, bytes(16), 1, body, dict(example.headers))
    assert decode_raw(encode(raw)) == raw
    context = Context(raw.event_id, raw.headers, FieldMapping())
    try:
        order_key = provider.order_key(provider.decode(body, context), context)
    except BadBody as error:
        told = error.path and error.reason
    except NoAlert as silence:
        told = silence.answer.decode()
    else:
        told = order_key
    assert told
    with suppress(BadBody):
        check_drafts(provider.drafts(raw, FieldMapping()))


def check_drafts(drafts: list[Draft]) -> None:
    """Every draft is within the limits and can be encoded."""
    for draft in drafts:
        assert 1 <= len(draft.dedup_key) <= 255
        assert len(draft.summary) <= 1024
        assert (draft.summary and draft.source) or draft.action is not Action.TRIGGER
        assert draft.starts_at >= 0
        assert draft.ends_at >= 0
        encode(draft)
        json.loads(draft.details or b"null", parse_int=str)


def places(value: Any) -> Iterator[Any]:
    """The value once for each of its fields, with the mark in that field, and once with a field too many."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from ({**value, name: changed} for changed in (MARK, *places(inner)))
        yield {**value, "unknown": MARK}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from ([*value[:index], changed, *value[index + 1 :]] for changed in (MARK, *places(inner)))


@pytest.mark.parametrize("name", sorted(HOSTILE))
@pytest.mark.parametrize("slug", SLUGS)
def test_hostile_values_anywhere_never_raise(slug: str, name: str) -> None:
    """Depth bombs, NUL, broken surrogates, 1e400 and the like: as the body, and in every field."""
    for example in PROVIDERS[slug].examples:
        check(slug, HOSTILE[name], example)
        if is_json(example):
            for place in places(json.loads(example.body, strict=False)):
                check(slug, json.dumps(place).encode().replace(b'"%b"' % MARK.encode(), HOSTILE[name]), example)


@pytest.mark.parametrize(("slug", "example"), [(slug, example) for slug, example in EXAMPLES if is_json(example)])
def test_every_truncation_is_refused(slug: str, example: Example) -> None:
    """A JSON body cut at any byte is a BadBody, never half an alert; none at all is right where the path says it."""
    context = Context(bytes(16), example.headers, FieldMapping())
    for end in range(PATH in example.headers, len(example.body)):
        with pytest.raises(BadBody):
            PROVIDERS[slug].decode(example.body[:end], context)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(EXAMPLES), st.data())
def test_mutated_examples_never_raise(case: tuple[str, Example], data: st.DataObject) -> None:
    """Examples with bytes replaced, removed and inserted give drafts or a refusal."""
    slug, example = case
    body = example.body
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.binary(max_size=4)) + body[at + data.draw(st.integers(0, 4)) :]
    check(slug, body, example)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([case for case in EXAMPLES if is_json(case[1]) and case[1].body != b"[]"]), JSON, st.data())
def test_examples_with_any_value_in_any_field_never_raise(
    case: tuple[str, Example], value: object, data: st.DataObject
) -> None:
    """An example whose fields, at any depth, hold any JSON gives drafts or a refusal."""
    slug, example = case
    root = json.loads(example.body, strict=False)
    node = root
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = value
    check(slug, json.dumps(root).encode(), example)
