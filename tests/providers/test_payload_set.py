"""The shared payload set: what tools really send becomes what its expected results say.

The set's directory is `STORMWEIR_PAYLOADS`, by default `../shared/payloads` beside the checkout. Without it
the same checks run over the providers' own examples alone.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from schemas.alert import Action, RawEvent
from schemas.control import FieldMapping
from schemas.signature import verify
from streams.providers import PATH, PROVIDERS, QUERY, BadBody, Context, Draft, Example, NoAlert

DEFAULT = Path(__file__).parents[3] / "shared" / "payloads"
ROOT = Path(os.environ.get("STORMWEIR_PAYLOADS", DEFAULT))
#: Folders of the set that are called differently here, and routes that have a provider of their own.
SLUGS = {"pagerduty": "events_v2", "generic": "webhook"}
ROUTES = {"/v2/change/enqueue": "change_events"}
SUFFIXES = (".json", ".form", ".multipart", ".empty")
SECRET_FIELDS = ("hmac_secret", "token", "shared_secret", "client_secret", "secret", "signature_secret")
MAPPING_FIELDS = {
    "summaryField": "summary",
    "severityField": "severity",
    "dedupKeyField": "dedup_key",
    "actionField": "action",
    "sourceField": "source",
    "triggerValues": "trigger_values",
    "resolveValues": "resolve_values",
    "acknowledgeValues": "acknowledge_values",
    "severityMap": "severity_map",
}
#: When the one signed time in the set is fresh, Unix seconds.
NOW = 1_762_423_200.0
EVENT_ID = bytes(range(16))


class Case(NamedTuple):
    """One request and what must come of it; `headers` has every header that was sent."""

    slug: str
    name: str
    body: bytes
    headers: dict[str, str]
    mapping: FieldMapping
    secret: str | None
    expected: dict[str, Any]

    @property
    def id(self) -> str:
        """The name of the test."""
        return f"{self.slug}-{self.name}"


def _given(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _secret(folder: Path) -> str | None:
    secrets = _given(ROOT / "secrets.json").get(folder.name, {})
    if "signing_cert" in secrets:
        return (ROOT / secrets["signing_cert"]).read_text()
    return next((secrets[field] for field in SECRET_FIELDS if field in secrets), None)


def _shared() -> Iterator[Case]:
    for results in sorted(ROOT.glob("*/expected.json")):
        folder = results.parent
        slug = SLUGS.get(folder.name, folder.name)
        for name, expected in _given(results).items():
            request = _given(folder / f"{name}.request.json")
            path = request.get("path", f"/api/integrations/{slug}")
            headers = {key.lower(): value for key, value in _given(folder / f"{name}.headers.json").items()}
            headers |= {QUERY: urlencode(request.get("query", {})), PATH: path}
            config = _given(folder / f"{name}.config.json")
            mapping = FieldMapping(**{MAPPING_FIELDS[key]: value for key, value in config.items()})
            body = next(file for suffix in SUFFIXES if (file := folder / f"{name}{suffix}").exists()).read_bytes()
            secret = _secret(folder) if expected["configure_secret"] else None
            yield Case(ROUTES.get(path, slug), name, body, headers, mapping, secret, expected)


def _own() -> Iterator[Case]:
    for slug, provider in PROVIDERS.items():
        for index, example in enumerate(provider.examples):
            yield Case(
                slug, f"example{index}", example.body, dict(example.headers), FieldMapping(), None, _promise(example)
            )


def _promise(example: Example) -> dict[str, Any]:
    alerts = [{"action": action.name.lower(), "dedup_group": key} for action, key in example.alerts]
    return {"outcome": example.silence or "alerts", "alerts": alerts}


ORIGINS = {"examples": list(_own()), "shared": list(_shared())}
CASES = [case for cases in ORIGINS.values() for case in cases]


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


def fits(draft: Draft, wanted: dict[str, Any]) -> bool:
    """Whether an alert is the one the set describes, its dedup key aside."""
    severity = wanted.get("severity")
    severities = [severity] if isinstance(severity, str) else severity
    return (
        draft.action.name.lower() == wanted["action"]
        and (severities is None or draft.severity.name.lower() in severities)
        and all(words in draft.summary for words in wanted.get("summary_contains", ()))
        and any(words in draft.summary for words in wanted.get("summary_contains_any", ("",)))
        and any(words in draft.source for words in wanted.get("source_contains_any") or ("",))
    )


def arranged(case: Case, drafts: list[Draft]) -> list[Draft]:
    """The alerts in the order in which the set describes them. Fails when they are not those."""
    wanted = case.expected["alerts"]
    assert len(drafts) == len(wanted)
    found = next((order for order in permutations(drafts) if all(map(fits, order, wanted))), None)
    assert found is not None, [
        (draft.action.name, draft.severity.name, draft.summary, draft.source) for draft in drafts
    ]
    return list(found)


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
