"""Every case over HTTP through a real gateway, Kafka and a real worker: the answer, and what is on the topics."""

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from schemas.control import masked_key
from schemas.wire.alert import Action, Alert, RawEvent
from schemas.wire.change import ChangeEvent
from streams.policy.signature import SnsCertificate
from streams.providers import PROVIDERS
from tests.gateway.conftest import wait_for
from tests.providers.conftest import Pipeline
from tests.providers.payload_set import CASES, ORIGINS, Case, arranged
from tests.providers.requests import Reply, key, request, send

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

SUCCESS = range(200, 300)
#: All but the examples that only Amazon could sign.
SENT = [
    case
    for case in CASES
    if case.secret
    or case.expected["outcome"] != "handshake"
    or not isinstance(PROVIDERS[case.slug].signature, SnsCertificate)
]


class Outcome(NamedTuple):
    """What became of a case's request: the answer, its records on `alerts.raw` and `changes`, and its alerts."""

    reply: Reply
    raw: list[RawEvent]
    changes: list[ChangeEvent]
    alerts: list[Alert]


@pytest.fixture(scope="module")
def outcomes(pipeline: Pipeline) -> Mapping[str, Outcome]:
    """All cases, sent before anything is read."""
    replies = {case.id: send(pipeline.url, request(case, key(case), time.time())) for case in SENT}
    raw, changes, alerts = pipeline.raw(), pipeline.changes(), pipeline.alerts()
    found = {}
    for case in SENT:
        shown = masked_key(key(case))
        found[case.id] = Outcome(replies[case.id], raw[key(case)], changes[shown], alerts[shown])
    return found


@pytest.mark.parametrize("case", SENT, ids=lambda case: case.id)
def test_a_request_over_http_becomes_what_the_set_says(outcomes: Mapping[str, Outcome], case: Case) -> None:
    """Status and answer, and on the topics the alerts that are described, the change, or nothing at all.

    A dedup key in the answer is that of the alert.
    """
    reply, raw, changes, alerts = outcomes[case.id]
    assert reply.status in case.expected.get("http_status", SUCCESS), reply
    answers(case, reply)
    accepted = case.expected["outcome"] == "alerts"
    assert [event.body for event in raw] == ([request(case, key(case)).body] if accepted else [])
    assert len(changes) == (case.expected["outcome"] == "change")
    told = json.loads(reply.body).get("dedup_key") if accepted else None
    assert told is None or [alert.dedup_key for alert in alerts] == [told]
    for alert in arranged(case, alerts):
        assert (alert.tenant, alert.provider) == ("default", case.slug)
        assert alert.action is not Action.TRIGGER or (alert.summary and alert.source)
        json.loads(alert.details or b"null")


@pytest.mark.parametrize("origin", ORIGINS)
def test_alerts_of_one_group_have_one_fingerprint_and_others_another(
    outcomes: Mapping[str, Outcome], origin: str
) -> None:
    """What belongs together is joined by the time it reaches dedup, and nothing else is.

    Every case has an integration of its own, so of a provider whose ids count inside one installation the keys are
    joined, and the fingerprints stay apart.
    """
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    prints: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    for case in filter(SENT.__contains__, ORIGINS[origin]):
        for alert, wanted in zip(arranged(case, outcomes[case.id].alerts), case.expected["alerts"], strict=True):
            if wanted.get("dedup_group"):
                group = (case.slug, wanted["dedup_group"])
                keys[group].add(alert.dedup_key)
                if PROVIDERS[case.slug].key_scope == "global":
                    prints[group].add(alert.fingerprint)
    assert all(len(found) == 1 for found in (*keys.values(), *prints.values())), keys
    assert len({(slug, key) for (slug, _), found in keys.items() for key in found}) == len(keys)
    assert len(set.union(set(), *prints.values())) == len(prints)


def answers(case: Case, reply: Reply) -> None:
    """The body of the answer: every refusal is JSON with words in it, and what the set describes is there."""
    described = case.expected.get("response")
    match case.expected["outcome"]:
        case "handshake" if described is not None:
            assert json.loads(reply.body) == described
        case "rejected" if described is None:
            assert json.loads(reply.body)["error"]
        case "rejected":
            answer = json.loads(reply.body)
            assert (answer["status"], answer["message"]) == (described["status"], described["message"])
            # The set's placeholder is `<... names FIELD>`.
            [field] = [text.rstrip(">").split()[-1] for text in described["errors"]]
            assert any(field in text for text in answer["errors"])


def test_a_signed_time_long_past_is_refused(pipeline: Pipeline) -> None:
    """What was recorded a year ago, signature and all, is 401 and says why."""
    cases = [case for case in CASES if request(case, "", 0).headers != request(case, "").headers]
    for case in cases:
        status, body = send(pipeline.url, request(case, key(case)))
        assert status == 401
        assert b"stale_timestamp" in body
    assert bool(cases) == bool(ORIGINS["shared"])


@pytest.mark.usefixtures("outcomes")
def test_amazon_is_visited_to_confirm_and_never_to_leave(pipeline: Pipeline) -> None:
    """The address of a verified SubscriptionConfirmation is visited, that of an UnsubscribeConfirmation is not."""
    addresses: dict[str, set[str]] = defaultdict(set)
    for case in SENT:
        if case.secret and isinstance(PROVIDERS[case.slug].signature, SnsCertificate):
            addresses[case.expected["outcome"]].add(json.loads(case.body).get("SubscribeURL"))
    confirming = addresses["handshake"]
    wait_for(lambda: confirming <= set(pipeline.visited.read_text().split()), f"visits to {confirming}", 20)
    assert not addresses["ignored"] & set(pipeline.visited.read_text().split())
