"""The one incident that a path names, of the caller's tenant and no other."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from msgspec import structs

from schemas.wire.incident import Incident
from streams.api.caller import CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError
from streams.history import queries
from streams.history.incidents import incident_of


async def find_incident(parts: Parts, tenant: str, incident_id: UUID) -> Incident | None:
    """The tenant's incident: from the read model, or from ClickHouse if it was resolved long ago."""
    found = await parts.model.find(tenant, incident_id.bytes)
    if found is not None:
        return found
    rows = await parts.query(queries.INCIDENTS_BY_ID, {"tenant": tenant, "prefix": str(incident_id), "limit": 1})
    return structs.replace(incident_of(rows[0]), tenant=tenant) if rows else None


async def _found(parts: PartsOf, caller: CallerOf, incident_id: UUID) -> Incident:
    found = await find_incident(parts, caller.tenant, incident_id)
    if found is None:
        raise ProblemError(404, "there is no such incident")
    return found


#: A route's parameter of this type is the incident that its path names.
IncidentOf = Annotated[Incident, Depends(_found)]
