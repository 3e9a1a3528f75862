"""Whose a provider's keys are, and how many requests a tool may send that does not send again what was refused."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest

from schemas.control import DEFAULT_RATE_LIMIT, Integration, Tenant
from schemas.wire.alert import RawEvent
from schemas.wire.codec import decode_alert, encode
from streams.control import catalogue, edits
from streams.control.state import Control
from streams.gateway.limits import claims_of
from streams.providers import PROVIDERS
from streams.stages.normalize import Normalize

#: Tools whose keys mean the same thing whoever sends them; the ids of all others count inside one installation.
GLOBAL = {
    *("azure", "bitbucket", "change_events", "cloudwatch", "custom", "events_v2", "gcp", "github", "opsgenie"),
    *("prometheus", "webhook"),
}
#: After which refusals a tool sends again; all others after none.
SENDS_AGAIN = {
    "azure": (429, 503),
    "change_events": (429, 503),
    "cloudwatch": (429, 503),
    "custom": (429, 503),
    "datadog": (503,),
    "events_v2": (429, 503),
    "opsgenie": (429, 503),
    "prometheus": (503,),
    "splunk": (429, 503),
    "webhook": (429, 503),
}
ONE, OTHER = "1" * 32, "2" * 32
ALARMING = sorted(slug for slug, provider in PROVIDERS.items() if provider.examples[0].alerts)


class Fetched(NamedTuple):
    """A record of alerts.raw."""

    value: bytes
    topic: str = "alerts.raw"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1
    key: bytes = b""
    headers: Sequence[tuple[str, bytes]] = ()


def fingerprints(slug: str, senders: Iterable[str]) -> list[set[bytes]]:
    """The fingerprints of a provider's first example, of each of these integrations of one service."""
    example, found = PROVIDERS[slug].examples[0], []
    for sender in senders:
        raw = RawEvent("default", "shop", sender, slug, bytes(16), 1, example.body, dict(example.headers))
        outputs = Normalize(Control()).requests(None, [Fetched(encode(raw))], 1)
        found.append({decode_alert(output.value or b"").fingerprint for output in outputs})
    return found


@pytest.mark.parametrize("slug", ALARMING)
def test_two_senders_fold_only_where_a_key_is_the_same_thing_everywhere(slug: str) -> None:
    """Ids that count inside one installation make two alerts of two integrations of a service, others make one."""
    one, again, other = fingerprints(slug, (ONE, ONE, OTHER))
    assert one
    assert one == again
    assert (one == other) is (slug in GLOBAL)
    assert one.isdisjoint(other) is (slug not in GLOBAL)


def test_a_rotated_key_sends_the_same_alerts() -> None:
    """Down with the old key, up with the new one, and with the one after that: one alert."""
    old = Integration(id=ONE, name="kuma", type="uptimekuma", service="shop")
    new = edits.rotated_integration(old)
    newest = edits.rotated_integration(new)
    assert new.installation == newest.installation != ""
    example, found = PROVIDERS["uptimekuma"].examples[0], set()
    for sender in (old, new, newest):
        raw = RawEvent(
            "default", "shop", sender.id, "uptimekuma", bytes(16), 1, example.body, dict(example.headers), b"",
            sender.installation,
        )  # fmt: skip
        outputs = Normalize(Control()).requests(None, [Fetched(encode(raw))], 1)
        found |= {decode_alert(output.value or b"").fingerprint for output in outputs}
    assert len(found) == 1


@pytest.mark.parametrize("slug", PROVIDERS)
def test_every_provider_says_whose_its_keys_are_and_why(slug: str) -> None:
    """The scope is the listed one, with a reason that the pages show, as is what a tool sends again."""
    provider = PROVIDERS[slug]
    assert provider.key_scope == ("global" if slug in GLOBAL else "installation")
    assert provider.retries == SENDS_AGAIN.get(slug, ())
    for text in (provider.key_reason, provider.retries_note):
        assert len(text) > 10
        assert not text.endswith(".")


@pytest.mark.parametrize("slug", PROVIDERS)
def test_what_is_not_sent_again_is_not_limited(slug: str) -> None:
    """A tool that gives up after 429 has no limit unless its integration sets one; all others have 120 a minute."""
    integration = Integration(id=ONE, name="a", type=slug, service="shop")
    expected = DEFAULT_RATE_LIMIT if 429 in SENDS_AGAIN.get(slug, ()) else "unlimited"
    assert catalogue.rate_limit(integration) == expected
    assert catalogue.entry(PROVIDERS[slug], "https://a")["rate_limit"] == expected
    assert claims_of(integration, None) == (() if expected == "unlimited" else ((ONE, 120),))
    limited = integration.model_copy(update={"rate_limit": 7})
    assert claims_of(limited, None) == ((ONE, 7),)
    assert claims_of(limited, Tenant(id="t", rate_limit=9)) == (("tenant/t", 9), (ONE, 7))


def test_a_type_that_is_gone_is_limited() -> None:
    """Nobody says of an unknown tool that it does not send again."""
    assert catalogue.rate_limit(Integration(id=ONE, name="a", type="fax", service="shop")) == DEFAULT_RATE_LIMIT
