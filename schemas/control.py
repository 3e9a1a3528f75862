"""Everything configurable, as records of the compacted topic `control`: `kind/id` -> JSON.

`Control` is the value every process follows. A record that does not validate never replaces a valid one.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, field_validator

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
SeverityName = Literal["info", "warning", "error", "critical"]
SignaturePolicy = Literal["required", "if_secret_set", "off"]
#: Requests a minute.
RateLimit = Annotated[int, Field(ge=1, le=10_000_000)] | Literal["unlimited"]
DEFAULT_RATE_LIMIT = 120
DEFAULT_TENANT = "default"
DEFAULT_WINDOW_S = 60
MAX_DEFAULTS = 10_000


class Record(BaseModel):
    """A control record: unknown fields are errors, values never change after they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Correlation(Record):
    """Alerts of one tenant with equal `group_by` values within `window` seconds form one incident.

    `group_by` names alert fields (service, source, component, group, class, severity, summary) or
    `labels.<name>`. The window is rolling: each member extends it, up to `max_window` from the opening.
    """

    group_by: tuple[str, ...] = Field(min_length=1, max_length=10)
    window: int = Field(default=300, ge=1, le=3600)
    max_window: int = Field(default=3600, ge=1, le=86_400)

    @field_validator("group_by")
    @classmethod
    def _known_fields(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        allowed = {"service", "source", "component", "group", "class", "severity", "summary", "dedup_key"}
        for name in names:
            if name not in allowed and not re.fullmatch(r"labels\.[^\s]{1,100}", name):
                raise ValueError(f"{name!r} is neither an alert field nor labels.<name>")
        return names


class Service(Record):
    """What alerts are about. Without `correlation` each dedup key is its own incident."""

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = ""
    dedup_window: int = Field(default=DEFAULT_WINDOW_S, ge=0, le=86_400)
    correlation: Correlation | None = None


class FieldMapping(Record):
    """How a generic webhook's JSON becomes an alert: dotted paths, `items.0.name` indexes a list.

    `severity_map` has the sender's own words, in any case, which come before the words everyone knows.
    """

    summary: str = "summary"
    severity: str = "severity"
    dedup_key: str = "dedup_key"
    action: str = "action"
    source: str = "source"
    trigger_values: tuple[str, ...] = ("trigger", "triggered", "firing", "alert", "open", "problem")
    resolve_values: tuple[str, ...] = ("resolve", "resolved", "ok", "closed", "recovered")
    acknowledge_values: tuple[str, ...] = ("acknowledge", "acknowledged", "ack")
    severity_map: dict[str, SeverityName] = Field(default_factory=dict, max_length=100)
    default_severity: SeverityName = "error"

    @field_validator("severity_map")
    @classmethod
    def _any_case(cls, words: dict[str, SeverityName]) -> dict[str, SeverityName]:
        return {word.strip().lower(): severity for word, severity in words.items()}


class Tenant(Record):
    """A customer of this installation. All of its integrations together may send `rate_limit` requests a minute."""

    id: Name
    name: str = Field(default="", max_length=200)
    rate_limit: RateLimit = "unlimited"


class Integration(Record):
    """A sender. `id` is its key: 32 hex characters, in the URL, the Token header or `routing_key`.

    `signature` says when a request must be signed; None is the default of the route it comes in by.
    `rate_limit` counts requests a minute. `topic_arns` are the SNS topics it may be subscribed to; empty: any.
    """

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    tenant: Name = DEFAULT_TENANT
    name: str = Field(min_length=1, max_length=200)
    type: Name
    service: Name
    enabled: bool = True
    signature: SignaturePolicy | None = None
    signature_secret: str | None = Field(default=None, min_length=6, repr=False)
    rate_limit: RateLimit = DEFAULT_RATE_LIMIT
    topic_arns: tuple[str, ...] = Field(default=(), max_length=50)
    mapping: FieldMapping = FieldMapping()


class Destination(Record):
    """Where notifications go. `type` is a channel's slug; `secret` signs what is sent."""

    id: Name
    tenant: Name = DEFAULT_TENANT
    type: Name = "webhook"
    url: HttpUrl
    template: Literal["stormweir-v1", "cortif-v1", "opsknight-v1"] = "stormweir-v1"
    secret: str | None = Field(default=None, min_length=8, repr=False)
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    enabled: bool = True

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name) or not re.fullmatch(r"[\x20-\x7e]{0,1000}", value):
                raise ValueError(f"header {name!r} is not a plain HTTP header")
        return headers


class Rule(Record):
    """Tried in order of `order`, then id; every rule whose matchers all hold is applied.

    `match` lines are Alertmanager matchers (`severity="info"`, `service=~"pay.*"`, `labels.env!="prod"`).
    `route` adds destinations; `suppress` ends the alert as suppressed: it is kept, and nobody is told.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    order: int = 100
    match: tuple[str, ...] = Field(default=(), max_length=20)
    severity: SeverityName | None = None
    suppress: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    route: tuple[Name, ...] = Field(default=(), max_length=50)


class ApiKey(Record):
    """A tenant's key for `/api/events` (Bearer), `/v2/alerts` (GenieKey) and `/v1/webhooks` (X-API-Key).

    Only the SHA-256 of the key is stored, and `prefix`, its first characters, for people to know it by.
    `webhook_secret` signs what is sent to `/v1/webhooks` with this key; `rate_limit` counts requests a minute that
    are no integration's. Two keys may live at once (rotation); deleting the record revokes one.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = Field(default="", max_length=200)
    prefix: str = Field(default="", max_length=12)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Literal["events:write"], ...] = ("events:write",)
    rate_limit: RateLimit = DEFAULT_RATE_LIMIT
    webhook_secret: str | None = Field(default=None, min_length=8, repr=False)


KINDS: Mapping[str, type[Record]] = {
    "tenant": Tenant,
    "service": Service,
    "integration": Integration,
    "destination": Destination,
    "rule": Rule,
    "apikey": ApiKey,
}
AnyRecord = Tenant | Service | Integration | Destination | Rule | ApiKey


def control_key(record: AnyRecord) -> str:
    """The record's key on the topic, `kind/id`; services, destinations and rules are per tenant."""
    kind = next(kind for kind, model in KINDS.items() if type(record) is model)
    scope = "" if isinstance(record, Tenant | Integration | ApiKey) else f"{record.tenant}/"
    return f"{kind}/{scope}{record.id}"


def masked_key(key: str) -> str:
    """An integration's key for people, logs and rows: the start that tells it from others, and opens nothing."""
    return f"{key[:6]}..."


def shown_sender(sender: str) -> str:
    """A sender's id for rows that people read: `apikey/<id>` as it is, an integration's key masked.

    >>> shown_sender("5f0c2a" + 26 * "0"), shown_sender("apikey/ci")
    ('5f0c2a...', 'apikey/ci')
    """
    return sender if sender.startswith("apikey/") else masked_key(sender)


def dump(record: AnyRecord) -> bytes:
    """The record's value on the topic: JSON with sorted keys, so equal records are equal bytes."""
    return orjson.dumps(record.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)


class Control:
    """The followed state. `apply` returns an error text instead of raising; `version` counts changes."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.integrations: dict[str, Integration] = {}
        self.destinations: dict[tuple[str, str], Destination] = {}
        self.rules: dict[tuple[str, str], Rule] = {}
        self.apikeys: dict[str, ApiKey] = {}
        self.records: dict[str, AnyRecord] = {}
        self.version = 0
        self._defaults: dict[tuple[str, str], Service] = {}

    def apply(self, key: str, value: bytes | None) -> str | None:
        """Take one record of the topic; a None value deletes. Returns why it was refused, or None."""
        kind = key.partition("/")[0]
        model = KINDS.get(kind)
        if model is None:
            return f"unknown kind {kind!r}"
        record: Record | None = None
        if value is not None:
            try:
                record = model.model_validate_json(value)
            except ValidationError as error:
                return describe(error)
        old = self.records.pop(key, None)
        if old is not None:
            self._unindex(old)
        if record is not None:
            assert isinstance(record, AnyRecord)
            self.records[key] = record
            self._index(record)
        self.version += 1
        return None

    def service(self, tenant: str, service_id: str) -> Service:
        """The service, or its defaults where nobody declared it."""
        place = tenant, service_id
        found = self.services.get(place) or self._defaults.get(place)
        if found is None:
            if len(self._defaults) >= MAX_DEFAULTS:
                # Producers name services freely; a flood of names must not fill the memory.
                self._defaults.clear()
            found = self._defaults[place] = Service.model_construct(id=service_id, tenant=tenant)
        return found

    def _index(self, record: AnyRecord) -> None:
        match record:
            case Tenant():
                self.tenants[record.id] = record
            case Service():
                self.services[record.tenant, record.id] = record
            case Integration():
                self.integrations[record.id] = record
            case Destination():
                self.destinations[record.tenant, record.id] = record
            case Rule():
                self.rules[record.tenant, record.id] = record
            case ApiKey():
                self.apikeys[record.sha256] = record

    def _unindex(self, record: AnyRecord) -> None:
        match record:
            case Tenant():
                self.tenants.pop(record.id, None)
            case Service():
                self.services.pop((record.tenant, record.id), None)
            case Integration():
                self.integrations.pop(record.id, None)
            case Destination():
                self.destinations.pop((record.tenant, record.id), None)
            case Rule():
                self.rules.pop((record.tenant, record.id), None)
            case ApiKey():
                self.apikeys.pop(record.sha256, None)


def describe(error: ValidationError) -> str:
    """A validation error as `path: message; ...`, without the offending values (they may be secrets)."""
    return "; ".join(
        f"{'.'.join(str(part) for part in issue['loc']) or 'record'}: {issue['msg']}" for issue in error.errors()
    )
