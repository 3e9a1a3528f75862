"""Who may send alerts. An integration's key is its credential: it is shown when it is made, and not again."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from schemas.control import FieldMapping, Integration, RateLimit, SignaturePolicy, control_key, installation_of
from schemas.control import masked_key as shown_key
from streams.api.caller import Caller, CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.times import Time
from streams.control import catalogue, edits
from streams.control.state import Control
from streams.control.trial import probe
from streams.control.write import Change
from streams.delivery.trial import Trial
from streams.history.queries import INTEGRATION_USE

router = APIRouter()

#: Seconds that each step of a test may take.
_TRIAL_S = 10.0


class IntegrationShown(BaseModel):
    """An integration. `key` is its beginning; `url` has `<key>` in its place.

    It is `active`, `inactive` (disabled), or in `error` if what came last was refused, for `reason`.
    """

    id: str
    key: str
    name: str
    type: str
    service: str
    enabled: bool
    status: Literal["active", "inactive", "error"]
    reason: str
    last_alert_at: Time | None
    last_refused_at: Time | None
    alerts_24h: int
    signed: bool
    signature: SignaturePolicy | None
    rate_limit: RateLimit
    mapping: FieldMapping
    url: str
    headers: list[str]
    steps: list[str]
    test_request: str


class NewKeyShown(IntegrationShown):
    """An integration with what its sender needs: shown this once."""

    integration_key: str
    webhook_url: str
    signature_secret: str | None


class ChangedIntegration(IntegrationShown):
    """An integration, with what its sender needs if it has a new secret: shown this once, else null."""

    integration_key: str | None = None
    webhook_url: str | None = None
    signature_secret: str | None = None


class IntegrationsShown(BaseModel):
    """All of the tenant's, by service and name."""

    items: list[IntegrationShown]


class IntegrationChange(BaseModel):
    """What to change; what is left out stays. `signature_secret` null takes the secret away."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(default="", min_length=1, max_length=200)
    service: str = ""
    enabled: bool = True
    signature: SignaturePolicy | None = None
    signature_secret: str | None = Field(default=None, min_length=6, max_length=200)
    generate_secret: bool = False
    rate_limit: RateLimit | None = None
    topic_arns: list[str] = Field(default_factory=list, max_length=50)
    mapping: FieldMapping = FieldMapping()


class NewIntegration(IntegrationChange):
    """What to make. `create_service` makes the service if it is new."""

    name: str = Field(min_length=1, max_length=200)
    type: str
    service: str
    create_service: bool = False


class TrialShown(BaseModel):
    """What became of a test alert, step by step; it is `ok` if everything happened that should have."""

    ok: bool
    steps: list[str]
    problems: list[str]
    outcome: str
    incident_id: str


@router.get("/integrations")
async def list_integrations(parts: PartsOf, caller: CallerOf) -> IntegrationsShown:
    """The tenant's integrations, and how they are used."""
    use = await _use(parts, caller.tenant)
    mine = [each for each in parts.control.integrations.values() if each.tenant == caller.tenant]
    mine.sort(key=lambda each: (each.service, each.name, each.id))
    return IntegrationsShown(items=[IntegrationShown(**_shown(parts, each, use)) for each in mine])


@router.get("/integrations/{integration_id}")
async def show_integration(parts: PartsOf, caller: CallerOf, integration_id: str) -> IntegrationShown:
    """One integration."""
    found = _found(parts.control, caller, integration_id)
    return IntegrationShown(**_shown(parts, found, await _use(parts, caller.tenant)))


@router.post("/integrations", status_code=201)
async def create_integration(parts: PartsOf, caller: CallerOf, wanted: NewIntegration) -> NewKeyShown:
    """Make an integration; its key, URL and secret are in this answer only."""
    values = _values(wanted) | {"type": wanted.type, "tenant": caller.tenant}

    def plan(control: Control) -> tuple[Integration, Change]:
        made, records = edits.new_integration(control, values, create_service=wanted.create_service)
        return made, Change(records)

    return _with_key(parts, await parts.transact(plan, caller.by))


@router.patch("/integrations/{integration_id}")
async def change_integration(
    parts: PartsOf, caller: CallerOf, integration_id: str, wanted: IntegrationChange
) -> ChangedIntegration:
    """Change an integration. With `generate_secret` the answer has the new secret, once."""

    def plan(control: Control) -> tuple[Integration, Change]:
        old = _found(control, caller, integration_id)
        new = edits.changed_integration(control, old, _values(wanted))
        return new, Change([new] if new != old else [])

    changed = await parts.transact(plan, caller.by)
    if wanted.generate_secret:
        return ChangedIntegration(**_with_key(parts, changed).model_dump())
    return ChangedIntegration(**_shown(parts, changed, await _use(parts, caller.tenant)))


@router.post("/integrations/{integration_id}/rotate", status_code=201)
async def rotate_integration(parts: PartsOf, caller: CallerOf, integration_id: str) -> NewKeyShown:
    """Make its successor with a new key, and a new secret if it has one; the old one is taken until it is deleted."""

    def plan(control: Control) -> tuple[Integration, Change]:
        new = edits.rotated_integration(_found(control, caller, integration_id))
        return new, Change([new])

    return _with_key(parts, await parts.transact(plan, caller.by))


@router.delete("/integrations/{integration_id}", status_code=204)
async def delete_integration(
    parts: PartsOf,
    caller: CallerOf,
    integration_id: str,
    confirm: Annotated[bool, Query(description="Needed: its key is unknown from then on.")] = False,
) -> None:
    """Delete an integration. What it sent stays."""
    if not confirm:
        raise ProblemError(400, "deleting cannot be undone", [Wrong("confirm", "say confirm=true")])
    await parts.transact(
        lambda control: (None, Change(deletes=[control_key(_found(control, caller, integration_id))])), caller.by
    )


@router.post("/integrations/{integration_id}/test")
async def test_integration(parts: PartsOf, caller: CallerOf, integration_id: str) -> TrialShown:
    """Send a marked alert all the way, tell what became of it, and resolve it. People are notified of it."""
    found = _found(parts.control, caller, integration_id)
    mark = parts.now()
    alert = probe(found, mark)
    if alert is None:
        raise ProblemError(422, f"a test of the type {found.type} has to come from the tool itself")
    steps: list[str] = []
    report = await Trial(parts.settings, parts.control, found, alert, mark, _TRIAL_S, steps.append).run()
    outcome = "done" if report.ok else "failed"
    await parts.audit.add(caller.tenant, caller.by, "tested", "integration", integration_id, outcome=outcome)
    return TrialShown(
        ok=report.ok,
        steps=steps,
        problems=report.problems,
        outcome=report.outcome,
        incident_id=report.incident_id,
    )


async def _use(parts: Parts, tenant: str) -> dict[str, dict[str, Any]]:
    return {row["integration"]: row for row in await parts.query(INTEGRATION_USE, {"tenant": tenant})}


def _found(control: Control, caller: Caller, name: str) -> Integration:
    """The integration by the digest of its key. Raises ProblemError."""
    for integration in control.integrations.values():
        if integration.tenant == caller.tenant and installation_of(integration.id) == name:
            return integration
    raise ProblemError(404, "there is no such integration")


def _values(wanted: IntegrationChange) -> dict[str, Any]:
    """The fields of the record that the request names."""
    values = wanted.model_dump(exclude_unset=True, exclude={"generate_secret", "create_service"})
    return values | ({"signature_secret": edits.new_secret()} if wanted.generate_secret else {})


def _shown(parts: Parts, integration: Integration, use: dict[str, dict[str, Any]]) -> dict[str, Any]:
    row = use.get(shown_key(integration.id), {})
    sent, refused = _time(row.get("last_alert_at")), _time(row.get("last_refused_at"))
    failing = refused is not None and (sent is None or refused > sent)
    status = "inactive" if not integration.enabled else "error" if failing else "active"
    # What others may see has no key and no secret.
    public = integration.model_copy(update={"id": catalogue.KEY})
    setup = catalogue.setup(public.model_copy(update={"signature_secret": None}), parts.settings.public_url)
    return {
        **integration.model_dump(include={"name", "type", "service", "enabled", "signature"}),
        "mapping": integration.mapping,
        "id": installation_of(integration.id),
        "key": shown_key(integration.id),
        "status": status,
        "reason": row.get("reason", "") if status == "error" else "",
        "last_alert_at": sent,
        "last_refused_at": refused,
        "alerts_24h": int(row.get("alerts_24h", 0)),
        "signed": integration.signature_secret is not None,
        "rate_limit": catalogue.rate_limit(integration),
        "url": setup.webhook_url,
        "headers": list(catalogue.setup(public, parts.settings.public_url).headers),
        "steps": list(setup.steps),
        "test_request": setup.test_request,
    }


def _with_key(parts: Parts, integration: Integration) -> NewKeyShown:
    setup = catalogue.setup(integration, parts.settings.public_url)
    shown = _shown(parts, integration, {}) | {"test_request": setup.test_request}
    return NewKeyShown(
        **shown,
        integration_key=integration.id,
        webhook_url=setup.webhook_url,
        signature_secret=integration.signature_secret,
    )


def _time(value: datetime | None) -> datetime | None:
    """ClickHouse's time as it is, None for 1970."""
    if value is None:
        return None
    at = value if value.tzinfo else value.replace(tzinfo=UTC)
    return at if at.timestamp() else None
