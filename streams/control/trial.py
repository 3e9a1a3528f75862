"""A test alert: a provider's example with a new key, text and time, so that it opens its own incident and is marked.

Pure. The places of the key, the text and the times in a format are found by trying: a change counts if the provider
itself then reads the intended values out of the body.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import orjson

from schemas.control import FieldMapping, Integration
from schemas.wire.alert import Action
from streams.policy.signature import SnsCertificate
from streams.providers import PATH, PROVIDERS, QUERY, BadBody, Context, Draft, Example, NoAlert, Provider

#: Part of the summary of every test alert.
MARK = "stormweir-test"
_TIMES = re.compile(rb"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d|\b1[5-9]\d{8}(\d{3})?\b")
_VALUES = re.compile(rb'[^"&=]+')
_NUMBERS = re.compile(rb"\d+")


class Probe(NamedTuple):
    """A request that is one trigger, `draft`, whose dedup key no other alert has."""

    example: Example
    draft: Draft


def probe(integration: Integration, at: int) -> Probe | None:
    """A test alert in the format of the integration, or None if only the tool itself can send one.

    `at`, in milliseconds since 1970 UTC, is when the alert fires, and makes it different from any other.
    """
    provider = PROVIDERS[integration.type]
    if isinstance(provider.signature, SnsCertificate):
        return None
    examples = (_mapped(integration.mapping),) if provider.slug == "webhook" else provider.examples
    found = (_fresh(provider, integration.mapping, example, at) for example in examples)
    return next((each for each in found if each is not None), None)


def _fresh(provider: Provider[Any], mapping: FieldMapping, example: Example, at: int) -> Probe | None:
    number, name = str(at), f"{MARK}-{at}"
    if {QUERY, PATH} & set(example.headers):
        return None
    timed = _read(provider, mapping, example._replace(body=_TIMES.sub(lambda found: _now(found, at), example.body)))
    if timed is None:
        return None
    for keyed in _changes(timed.example, timed.draft.dedup_key, name, number):
        fresh = _read(provider, mapping, keyed)
        if fresh is None or number not in fresh.draft.dedup_key:
            continue
        for told in (keyed, *_changes(keyed, fresh.draft.summary, name)):
            marked = _read(provider, mapping, told)
            if marked is not None and number in marked.draft.dedup_key and name in marked.draft.summary:
                return marked
    return None


def _read(provider: Provider[Any], mapping: FieldMapping, example: Example) -> Probe | None:
    """The example and the draft that its provider reads from it; None unless it is exactly one trigger."""
    context = Context(bytes(16), example.headers, mapping)
    try:
        drafts = provider.parse(provider.decode(example.body, context), context)
    except (BadBody, NoAlert):
        return None
    return Probe(example, drafts[0]) if [draft.action for draft in drafts] == [Action.TRIGGER] else None


def _changes(example: Example, text: str, *words: str) -> Iterator[Example]:
    """The example with `text`, or a value that is a part of it, replaced by one of the words; longest values first."""
    part = text.lower()
    found = {text.encode(), *_VALUES.findall(example.body), *_NUMBERS.findall(example.body)}
    values = [value for value in found if unquote_plus(value.decode()).lower() in part]
    for value in sorted(values, key=lambda value: (-len(value), value)):
        whole = re.compile(rb"(?<![A-Za-z0-9_])%b(?![A-Za-z0-9_])" % re.escape(value))
        for word in words:
            yield example._replace(body=whole.sub(word.encode(), example.body))


def _now(found: re.Match[bytes], at: int) -> bytes:
    """The time of the test, in the format of the time that was found."""
    if found[1] is not None:
        return datetime.fromtimestamp(at / 1000, UTC).strftime(f"%Y-%m-%d{found[1].decode()}%H:%M:%S").encode()
    return str(at if found[2] is not None else at // 1000).encode()


def _mapped(mapping: FieldMapping) -> Example:
    """A body with a value at every path of the mapping."""
    body: dict[str, Any] = {}
    for path, value in (
        (mapping.source, "stormweir"),
        (mapping.severity, "warning"),
        (mapping.action, next(iter(mapping.trigger_values), "")),
        (mapping.summary, "Test of Stormweir"),
        (mapping.dedup_key, "stormweir-key"),
    ):
        *above, last = path.split(".")
        place = body
        for part in above:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {}
            place = inner
        place[last] = value
    return Example(orjson.dumps(body), ())
