"""The shared payload set and the providers' own examples: requests, and what must come of them.

The set's directory is `STORMWEIR_PAYLOADS`, by default `../shared/payloads` beside the checkout. Without it
there are the providers' own examples alone.
"""

import json
import os
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlencode

from schemas.control import FieldMapping
from schemas.wire.alert import Action, Severity
from streams.providers import PATH, PROVIDERS, QUERY, Example

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
CREDENTIAL_FIELDS = ("routing_key", "api_key")


class Case(NamedTuple):
    """One request and what must come of it.

    `headers` has every header that was sent, in lower case, and QUERY and PATH as providers know them.
    `credential` is the key that stands in the body or in a header, in place of which one's own is sent, or "".
    """

    slug: str
    name: str
    method: str
    body: bytes
    headers: dict[str, str]
    mapping: FieldMapping
    secret: str | None
    credential: str
    expected: dict[str, Any]

    @property
    def id(self) -> str:
        """The name of the test."""
        return f"{self.slug}-{self.name}"


class Told(Protocol):
    """What an alert and a draft of one both say."""

    @property
    def dedup_key(self) -> str: ...
    @property
    def action(self) -> Action: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def summary(self) -> str: ...
    @property
    def source(self) -> str: ...


T = TypeVar("T", bound=Told)


def _given(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _secret(folder: Path) -> str | None:
    secrets = _given(ROOT / "secrets.json").get(folder.name, {})
    if "signing_cert" in secrets:
        return (ROOT / secrets["signing_cert"]).read_text()
    return next((secrets[field] for field in SECRET_FIELDS if field in secrets), None)


def _credential(folder: Path) -> str:
    secrets = _given(ROOT / "secrets.json").get(folder.name, {})
    return next((secrets[field] for field in CREDENTIAL_FIELDS if field in secrets), "")


def certificates() -> dict[str, str]:
    """The certificates (PEM) that signed cases, by the address that these name."""
    secrets = _given(ROOT / "secrets.json").values()
    return {
        found["signing_cert_url"]: (ROOT / found["signing_cert"]).read_text()
        for found in secrets
        if "signing_cert" in found
    }


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
            yield Case(
                slug=ROUTES.get(path, slug),
                name=name,
                method=request.get("method", "POST"),
                body=body,
                headers=headers,
                mapping=mapping,
                secret=_secret(folder) if expected["configure_secret"] else None,
                credential=_credential(folder),
                expected=expected,
            )


def _own() -> Iterator[Case]:
    for slug, provider in PROVIDERS.items():
        for index, example in enumerate(provider.examples):
            yield Case(
                slug=slug,
                name=f"example{index}",
                method="POST" if example.body or PATH in example.headers else "GET",
                body=example.body,
                headers={PATH: f"/api/integrations/{slug}", **example.headers},
                mapping=FieldMapping(),
                secret=None,
                credential="",
                expected=_promise(example),
            )


def _promise(example: Example) -> dict[str, Any]:
    alerts = [{"action": action.name.lower(), "dedup_group": key} for action, key in example.alerts]
    return {"outcome": example.silence or "alerts", "alerts": alerts}


ORIGINS = {"examples": list(_own()), "shared": list(_shared())}
CASES = [case for cases in ORIGINS.values() for case in cases]


def fits(draft: Told, wanted: dict[str, Any]) -> bool:
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


def arranged(case: Case, drafts: Sequence[T]) -> list[T]:
    """The alerts in the order in which the set describes them. Fails when they are not those."""
    wanted = case.expected["alerts"]
    assert len(drafts) == len(wanted)
    found = next((order for order in permutations(drafts) if all(map(fits, order, wanted))), None)
    assert found is not None, [
        (draft.action.name, draft.severity.name, draft.summary, draft.source) for draft in drafts
    ]
    return list(found)
