"""How deep a body may be: the same for every provider, and told."""

import json
import random
from typing import Any

import pytest

from schemas.control import FieldMapping
from streams.providers import PROVIDERS, BadBody, Context
from streams.providers._json import MAX_DEPTH, _too_deep

TEXTS = ['"', "\\", '\\"', "]", "{", '"]}', "\\\\", "", "plain", "[[[[", "\u2028]", "}{"]


@pytest.mark.parametrize("slug", sorted(PROVIDERS))
def test_a_body_that_is_too_deep_is_refused_by_its_name(slug: str) -> None:
    """A field too many, of more levels than allowed: a BadBody that says so, from every provider that takes JSON.

    Prometheus keeps nothing of it, so only what cannot be skipped over is too deep.
    """
    for example in PROVIDERS[slug].examples:
        if not example.body.startswith(b"{"):
            continue
        context = Context(bytes(16), example.headers, FieldMapping())
        for levels in (100_000,) if slug == "prometheus" else (MAX_DEPTH, 900, 100_000):
            deep = example.body.rstrip()[:-1] + b', "zz": ' + b"[" * levels + b"]" * levels + b"}"
            with pytest.raises(BadBody, match="nested deeper"):
                PROVIDERS[slug].decode(deep, context)


def depth(value: Any) -> int:
    """Levels of lists and objects."""
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


def nested(rng: random.Random, levels: int) -> Any:
    """Lists and objects around hard texts, with shallower ones beside them."""
    value: Any = rng.choice(TEXTS)
    for _ in range(levels):
        beside = [
            rng.choice([rng.choice(TEXTS), [], {}, [rng.choice(TEXTS)], 1, None]) for _ in range(rng.randrange(3))
        ]
        rest = {f"{rng.choice(TEXTS)}{number}": each for number, each in enumerate(beside)}
        value = [*beside, value] if rng.random() < 0.5 else {**rest, rng.choice(TEXTS): value}
    return value


def test_brackets_in_texts_do_not_count() -> None:
    """The count is exact: a hundred levels are right and one more is not, whatever stands in the texts."""
    rng = random.Random(7)
    for _ in range(300):
        value = nested(rng, MAX_DEPTH + rng.randrange(-3, 4))
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
            assert _too_deep(text.encode()) == (depth(value) > MAX_DEPTH)
    assert not _too_deep(json.dumps([[{"a": ["[" * 200, "]"]}]] * 1000).encode())
