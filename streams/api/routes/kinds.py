"""The kinds of records: what a form needs to write one."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from schemas.control import secrets_of
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.roles import Role
from streams.control.records import PLAIN_KINDS, records_of

router = APIRouter()

#: Kinds that a member may write too; an admin writes all.
FOR_MEMBERS = frozenset({"silence", "maintenance", "override"})


class KindShown(BaseModel):
    """One kind. `json_schema` is of its records; what a destination has beyond it is its channel's (`/channels`).

    `secret_fields` are never shown. `role` is the least one that may write. `count` is how many the tenant has.
    """

    kind: str
    title: str
    description: str
    json_schema: dict[str, Any]
    secret_fields: list[str]
    role: str
    count: int


class KindsShown(BaseModel):
    """Kinds that others refer to come first."""

    items: list[KindShown]


@router.get("/kinds")
async def list_kinds(parts: PartsOf, caller: CallerOf) -> KindsShown:
    """Every kind of record that is written as it is."""
    return KindsShown(
        items=[
            KindShown(
                kind=kind,
                title=kind.replace("_", " ").capitalize(),
                description=(model.__doc__ or "").strip().partition("\n\n")[0],
                json_schema=model.model_json_schema(),
                secret_fields=sorted(secrets_of(model)),
                role=writer(kind).text,
                count=len(records_of(parts.control, kind, caller.tenant)),
            )
            for kind, model in PLAIN_KINDS.items()
        ]
    )


def writer(kind: str) -> Role:
    """The least role that may write records of a kind."""
    return Role.MEMBER if kind in FOR_MEMBERS else Role.ADMIN
