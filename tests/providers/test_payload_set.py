"""The payload set and the providers' examples: what tools really send becomes what is expected of it."""

import json
from collections import defaultdict

import pytest

from schemas.wire.alert import Action, RawEvent
from streams.policy.signature import verify
from streams.providers import PROVIDERS, BadBody, Context, Draft, NoAlert
from tests.providers.payload_set import CASES, ORIGINS, Case, arranged

#: When the one signed time in the set is fresh, Unix seconds.
NOW = 1_762_423_200.0
EVENT_ID = bytes(range(16))


def outcome(case: Case) -> tuple[str, list[Draft], bytes]:
    """What becomes of a case, in the set's words, its alerts, and the provider's own answer."""
    provider = PROVIDERS[case.slug]
    if case.secret is not None and provider.signature is not None:
        reason = verify(provider.signature, case.secret, case.headers.get, case.body, NOW)
        if reason is not None:
            return "rejected", [], b""
    headers = {name: case.headers[name] for name in provider.headers if name in case.headers}
    context = Context(EVENT_ID, headers, case.mapping)
    try:
        decoded = provider.decode(case.body, context)
    except NoAlert as silence:
        return silence.kind, [], silence.answer
    except BadBody:
        return "rejected", [], b""
    assert provider.order_key(decoded, context)
    raw = RawEvent("default", "shop", "0" * 32, case.slug, EVENT_ID, 1, case.body, headers)
    return "alerts", provider.drafts(raw, case.mapping), b""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_request_becomes_what_the_set_says(case: Case) -> None:
    """Outcome, and for each alert its action, severity, words of the summary and source."""
    found, drafts, answer = outcome(case)
    assert found == case.expected["outcome"]
    if found == "handshake" and "response" in case.expected:
        assert json.loads(answer) == case.expected["response"]
    arranged(case, drafts)
    for draft in drafts:
        assert draft.action is not Action.TRIGGER or (draft.summary and draft.source)
        json.loads(draft.details or b"null")


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("slug", sorted(PROVIDERS))
def test_keys_join_what_belongs_together_and_nothing_else(slug: str, origin: str) -> None:
    """Within a provider the alerts of one group have one dedup key, and different groups different ones."""
    keys: dict[str, set[str]] = defaultdict(set)
    for case in (case for case in ORIGINS[origin] if case.slug == slug and case.expected["outcome"] == "alerts"):
        for draft, wanted in zip(arranged(case, outcome(case)[1]), case.expected["alerts"], strict=True):
            if wanted.get("dedup_group"):
                keys[wanted["dedup_group"]].add(draft.dedup_key)
    assert all(len(found) == 1 for found in keys.values()), keys
    assert len(set.union(set(), *keys.values())) == len(keys)
