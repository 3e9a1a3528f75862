"""Test alerts: each provider's own format, fresh and marked."""

import pytest

from schemas.control import FieldMapping, Integration
from schemas.wire.alert import Action
from streams.control.trial import MARK, probe
from streams.providers import PROVIDERS, Context

AT = 1_795_280_400_123
#: Only Amazon can sign its messages; a change opens nothing.
WITHOUT = {"cloudwatch", "change_events"}


def integration(slug: str, **fields: object) -> Integration:
    """An integration of this type."""
    return Integration.model_validate({"id": "5f" * 16, "name": "n", "type": slug, "service": "s", **fields})


@pytest.mark.parametrize("slug", sorted(set(PROVIDERS) - WITHOUT))
def test_a_probe_is_one_fresh_marked_trigger(slug: str) -> None:
    """Contract C118: the provider reads one trigger of now, of a key that no other has, which says it is a test."""
    found, other = probe(integration(slug), AT), probe(integration(slug), AT + 1)
    assert found is not None
    assert other is not None
    provider, context = PROVIDERS[slug], Context(bytes(16), found.example.headers, FieldMapping())
    [draft] = provider.parse(provider.decode(found.example.body, context), context)
    assert draft == found.draft
    assert draft.action is Action.TRIGGER
    assert str(AT) in draft.dedup_key
    assert str(AT) not in other.draft.dedup_key
    assert f"{MARK}-{AT}" in draft.summary
    assert draft.starts_at == 0 or abs(draft.starts_at - AT) < 1000
    assert draft.ends_at == 0


@pytest.mark.parametrize("slug", sorted(WITHOUT))
def test_some_tests_must_come_from_the_tool(slug: str) -> None:
    """There is no test alert where nobody but the vendor can sign, or where nothing is an alert."""
    assert probe(integration(slug), AT) is None


def test_a_webhooks_probe_follows_its_mapping() -> None:
    """The values are where the integration's mapping looks for them, also where two places are one."""
    mapping = {
        "summary": "alert.title",
        "dedup_key": "alert.id.0",
        "action": "alert.state",
        "source": "host",
        "severity": "prio",
        "trigger_values": ["bad"],
    }
    found = probe(integration("webhook", mapping=mapping), AT)
    assert found is not None
    assert str(AT) in found.draft.dedup_key
    assert found.draft.source == "stormweir"
    one = probe(integration("webhook", mapping={"summary": "text", "dedup_key": "text"}), AT)
    assert one is not None
    assert one.draft.dedup_key == one.draft.summary
    assert probe(integration("webhook", mapping={"dedup_key": "a", "action": "a.b"}), AT) is not None
