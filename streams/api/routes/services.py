"""Services as a map, and heartbeats; both are records, shown here with what goes on."""

from collections import defaultdict
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from schemas.control import Heartbeat, Service
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.times import Time, moment
from streams.history.queries import MISSING_HEARTBEATS, OPEN_BY_SERVICE
from streams.history.times import milliseconds

router = APIRouter()


class ServiceShown(BaseModel):
    """A service, those that it depends on, and its open incidents by severity."""

    id: str
    title: str
    depends_on: list[str]
    open: dict[str, int]


class Topology(BaseModel):
    """Every service that is declared or has open incidents."""

    items: list[ServiceShown]


class HeartbeatShown(BaseModel):
    """A heartbeat: it is `missing` since its incident opened, or `ok`."""

    id: str
    service: str
    every_s: int
    grace_s: int
    severity: str
    enabled: bool
    by_alerts: bool
    state: Literal["ok", "missing", "disabled"]
    missing_since: Time | None


class HeartbeatsShown(BaseModel):
    """All of the tenant's, by id."""

    items: list[HeartbeatShown]


@router.get("/topology")
async def show_topology(parts: PartsOf, caller: CallerOf) -> Topology:
    """The services and what they depend on."""
    open_: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in await parts.query(OPEN_BY_SERVICE, {"tenant": caller.tenant}):
        open_[row["service"]][row["severity"]] = int(row["count"])
    declared = {name: service for (tenant, name), service in parts.control.services.items() if tenant == caller.tenant}
    names = sorted({*declared, *open_})
    return Topology(items=[_service(declared.get(name), name, open_[name]) for name in names])


@router.get("/heartbeats")
async def list_heartbeats(parts: PartsOf, caller: CallerOf) -> HeartbeatsShown:
    """The tenant's heartbeats."""
    rows = await parts.query(MISSING_HEARTBEATS, {"tenant": caller.tenant})
    missing = {(row["service"], row["dedup_key"]): moment(milliseconds(row["opened_at"])) for row in rows}
    found = [each for (tenant, _), each in sorted(parts.control.every(Heartbeat).items()) if tenant == caller.tenant]
    return HeartbeatsShown(
        items=[
            HeartbeatShown(
                id=each.id,
                service=each.service,
                every_s=each.every,
                grace_s=each.grace,
                severity=each.severity,
                enabled=each.enabled,
                by_alerts=bool(each.match),
                state="disabled" if not each.enabled else "missing" if since is not None else "ok",
                missing_since=since,
            )
            for each in found
            for since in [missing.get((each.service, f"heartbeat/{each.id}"))]
        ]
    )


def _service(service: Service | None, name: str, found: dict[str, int]) -> ServiceShown:
    title, above = (service.name, list(service.depends_on)) if service is not None else ("", [])
    return ServiceShown(id=name, title=title, depends_on=above, open=found)
