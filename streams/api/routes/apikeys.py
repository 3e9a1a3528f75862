"""API keys, with which a tenant's programs send alerts without an integration (`stormweir keys`)."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from schemas.control import ApiKey, control_key
from schemas.control.record import RateLimit
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError
from streams.control import edits
from streams.control.state import Control
from streams.control.write import Change

router = APIRouter()


class ApiKeyShown(BaseModel):
    """A key. `prefix` are its first characters, `rate_limit` is in requests a minute. If it `signs`, requests to
    `/v1/webhooks` with it are signed.
    """

    id: str
    name: str
    prefix: str
    scopes: list[str]
    rate_limit: RateLimit
    signs: bool


class MadeApiKey(ApiKeyShown):
    """A new key, and the secret that signs requests to `/v1/webhooks`; both are shown this once."""

    key: str
    webhook_secret: str


class ApiKeys(BaseModel):
    """All of the tenant's, by id."""

    items: list[ApiKeyShown]
    next: None = None


class NewApiKey(BaseModel):
    """What the key is called; all tenants share the ids. Without a `rate_limit` it is the default one."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=100)
    name: str = Field(default="", max_length=200)
    rate_limit: RateLimit | None = None


@router.get("/apikeys")
async def list_api_keys(parts: PartsOf, caller: CallerOf) -> ApiKeys:
    """Every key of the tenant."""
    found = [key for key in parts.control.apikeys.values() if key.tenant == caller.tenant]
    return ApiKeys(items=[ApiKeyShown(**_shown(key)) for key in sorted(found, key=lambda key: key.id)])


@router.post("/apikeys", status_code=201)
async def create_api_key(parts: PartsOf, caller: CallerOf, wanted: NewApiKey) -> MadeApiKey:
    """Make a key. To rotate one, make another, let the senders change to it, and delete the first."""

    def plan(control: Control) -> tuple[edits.NewKey, Change]:
        made = edits.new_key(control, {**wanted.model_dump(exclude_none=True), "tenant": caller.tenant})
        return made, Change(made.records)

    made = await parts.transact(plan, caller.by)
    assert made.record.webhook_secret is not None
    return MadeApiKey(**_shown(made.record), key=made.key, webhook_secret=made.record.webhook_secret)


@router.delete("/apikeys/{key_id}", status_code=204)
async def delete_api_key(parts: PartsOf, caller: CallerOf, key_id: str) -> None:
    """Revoke a key: requests with it are answered 401 from then on."""

    def plan(control: Control) -> tuple[None, Change]:
        found = control.records.get(f"apikey/{key_id}")
        if not isinstance(found, ApiKey) or found.tenant != caller.tenant:
            raise ProblemError(404, "there is no such API key")
        return None, Change(deletes=[control_key(found)])

    await parts.transact(plan, caller.by)


def _shown(key: ApiKey) -> dict[str, Any]:
    shown = key.model_dump(include={"id", "name", "prefix", "scopes", "rate_limit"})
    return {**shown, "signs": key.webhook_secret is not None}
