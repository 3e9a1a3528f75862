"""docs/errors.md: its table is what the gateway refuses with."""

import json
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from typing import Any

from streams.gateway import answers
from streams.gateway.answers import Answer
from tests.docs.page import codes, read, section, table

PAGE = read("docs/errors.md")
#: What the answers that say more than a constant are asked with here, by the names of their parameters.
GIVEN: Mapping[str, Any] = {
    "methods": ("POST",),
    "limit": 4_194_304,
    "seconds": 7,
    "path": "payload.summary",
    "reason": "is required",
}


def _refusals() -> Iterator[Answer]:
    """Every refusal of the module, whatever makes it."""
    for name, found in vars(answers).items():
        if isinstance(found, Answer):
            yield found
        elif isinstance(found, dict) and not name.startswith("_"):
            yield from (value for value in found.values() if isinstance(value, Answer) and value.reason)
        elif callable(found) and getattr(found, "__module__", "") == answers.__name__ and not isinstance(found, type):
            yield from _called(found)
    yield answers.bad_body("content-type", "is none of CloudEvents")


def _called(make: Callable[..., Any]) -> Iterator[Answer]:
    parameters = signature(make).parameters
    if set(parameters) <= set(GIVEN):
        made = make(**{name: GIVEN[name] for name in parameters})
        if isinstance(made, Answer) and made.reason:
            yield made


def test_every_refusal_is_listed_with_its_words() -> None:
    """Status, reason and `error` of the table are those of the answers, and none is missing."""
    listed = {(int(status), codes(reason)[0], codes(error)[0]) for status, reason, error, _ in table(PAGE)}
    real = {(answer.status, answer.reason, json.loads(answer.body)["error"]) for answer in _refusals()}
    assert listed == real
    assert len(real) > 20


def test_the_example_is_an_answer() -> None:
    """The JSON at the top is what a 400 says."""
    example = PAGE.partition("```json\n")[2].partition("```")[0]
    assert json.loads(example) == json.loads(answers.bad_body("payload.summary", "is required").body)


def test_signatures_have_their_reasons_in_the_answer() -> None:
    """Contract C122: the page names each reason that an answer's body has."""
    sentence = PAGE.partition("`missing_header`, `bad_signature`, ")[2].partition(" are in the")[0]
    named = {"missing_header", "bad_signature", *codes(sentence)}
    assert named == {answer.reason for answer in _refusals() if "reason" in json.loads(answer.body)}


def test_what_to_check_names_real_reasons() -> None:
    """The reasons in docs/not-arriving.md are those of the errors."""
    listed = {
        reason for row in table(section(read("docs/not-arriving.md"), "What was refused?")) for reason in codes(row[0])
    }
    assert {"unauthorized", "disabled", "rate_limited", "missing_header", "bad_signature", "stale_timestamp"} <= listed
    assert listed <= {answer.reason for answer in _refusals()}


def test_no_refusal_names_a_key() -> None:
    """Contract B5: a wrong key, a wrong tenant and a key of another type have one body."""
    assert answers.UNAUTHORIZED.body == answers.WRONG_TYPE.body
