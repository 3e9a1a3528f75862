"""Requests as no tool sends them, over HTTP: the gateway answers each, survives, and lets nothing useless through."""

import json
import random
import urllib.request
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.control import masked_key
from schemas.wire.alert import Action
from tests.providers.conftest import Pipeline
from tests.providers.payload_set import CASES, Case
from tests.providers.requests import MUTATED, Request, key, request, send

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

DEEP = 4_000
CHARSETS = ("utf-16", "utf-32", "utf-8-sig", "cp1252")
CONTENT_TYPES = (
    "application/json; charset=utf-16",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "text/plain",
    "application/cloudevents-batch+json",
    "\u00e4",
)
VALUES: tuple[Any, ...] = (None, True, -1, 1e300, "", "\ud800", "x" * 5000, [], {}, [[]], {"": None}, "2026-99-99T99")


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container inside a JSON value with each of its keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, item in inner for place in [(value, name), *places(item)]]


def swapped(body: bytes, draw: random.Random) -> bytes:
    """The JSON with another value, perhaps of another type, in some of its fields; other bodies as they are."""
    try:
        value = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return body
    for container, name in draw.sample(found := places(value), min(len(found), draw.randint(1, 3))):
        container[name] = draw.choice(VALUES)
    return json.dumps(value).encode()


def nested(body: bytes, draw: random.Random) -> bytes:
    """The body inside so many lists or objects that a recursive reader would fall over."""
    opened, closed = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return opened * DEEP + body + closed * DEEP


def flipped(body: bytes, draw: random.Random) -> bytes:
    """The body with a few of its bits turned."""
    changed = bytearray(body)
    for _ in range(min(len(changed), 3)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(body: bytes, draw: random.Random) -> bytes:
    """The body up to any byte."""
    return body[: draw.randint(0, len(body))]


def encoded(body: bytes, draw: random.Random) -> bytes:
    """The body in an encoding nobody announced."""
    return body.decode("utf-8", "replace").encode(draw.choice(CHARSETS), "replace")


def mutate(case: Case, draw: random.Random) -> Request:
    """The case's request with its body changed in one or two ways, and sometimes a header or the query too."""
    method, target, headers, body = request(case, key(case, MUTATED))
    for change in draw.sample([swapped, nested, flipped, cut, encoded], draw.randint(1, 2)):
        body = change(body, draw)
    match draw.randrange(8):
        case 0:
            headers = {**headers, "content-type": draw.choice(CONTENT_TYPES)}
        case 1:
            headers = {**headers, "content-encoding": draw.choice(["gzip", "deflate", "br", "identity"])}
        case 2:
            target += draw.choice(["&", "?"]) + draw.choice(["a=%ff", "a=1&" * 200, "%", "integrationId=0", ";;=="])
    return Request(method, target, headers, body)


def test_no_mutated_request_is_a_failure_of_ours(pipeline: Pipeline) -> None:
    """800 examples: an answer below 500 each, a refusal in JSON; the processes live, and every request that was
    accepted became alerts within the limits, none a dead letter."""
    letters = len(pipeline.dead_letters())

    @settings(max_examples=800, deadline=None)
    @given(st.sampled_from(CASES), st.randoms(use_true_random=False))
    def answered(case: Case, draw: random.Random) -> None:
        status, body = send(pipeline.url, mutate(case, draw))
        assert status < 500, pipeline.log.read_text()[-3000:]
        if status >= 400:
            assert json.loads(body), status

    answered()
    for name, process in pipeline.processes.items():
        assert process.poll() is None, name
        with urllib.request.urlopen(f"{pipeline.admin[name]}/readyz", timeout=5) as answer:
            assert answer.status == 200
    assert "Traceback" not in pipeline.log.read_text()
    raw, alerts = pipeline.raw(), pipeline.alerts()
    for case in CASES:
        became = alerts[masked_key(key(case, MUTATED))]
        assert len(became) >= len(raw[key(case, MUTATED)])
        for alert in became:
            assert 1 <= len(alert.dedup_key) <= 255
            assert len(alert.summary) <= 1024
            assert alert.action is not Action.TRIGGER or (alert.summary and alert.source)
            json.loads(alert.details or b"null")
    assert len(pipeline.dead_letters()) == letters
