"""Queries that somebody has saved for themselves."""

import secrets

from fastapi import APIRouter
from pydantic import BaseModel, Field

from schemas.wire.console import View
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError
from streams.control.edits import FieldError

router = APIRouter()

_MOST = 100


class NewView(BaseModel):
    """A query, as the console has it in its address, under a name."""

    name: str = Field(min_length=1, max_length=100)
    query: str = Field(max_length=2_000)


class SavedView(NewView):
    """A saved view."""

    id: str


class SavedViews(BaseModel):
    """All of the caller's, the oldest first."""

    items: list[SavedView]
    next: None = None


@router.get("/views")
async def list_views(parts: PartsOf, caller: CallerOf) -> SavedViews:
    """The caller's own views."""
    found = [(view.created_at, name, view) for name, view in parts.store.console.views.items() if _own(caller, view)]
    return SavedViews(items=[SavedView(id=name, name=view.name, query=view.query) for _, name, view in sorted(found)])


@router.post("/views", status_code=201)
async def create_view(parts: PartsOf, caller: CallerOf, wanted: NewView) -> SavedView:
    """Save a view."""
    if sum(_own(caller, view) for view in parts.store.console.views.values()) >= _MOST:
        raise FieldError("name", f"there are {_MOST} views already: delete one")
    name = secrets.token_hex(8)
    view = View(
        account=caller.account, tenant=caller.tenant, name=wanted.name, query=wanted.query, created_at=parts.now()
    )
    await parts.store.put(f"view/{name}", view)
    await parts.audit.add(caller.tenant, caller.by, "created", "view", name, after=wanted.model_dump())
    return SavedView(id=name, **wanted.model_dump())


@router.delete("/views/{view_id}", status_code=204)
async def delete_view(parts: PartsOf, caller: CallerOf, view_id: str) -> None:
    """Delete a view."""
    view = parts.store.console.views.get(view_id)
    if view is None or not _own(caller, view):
        raise ProblemError(404, "there is no such view")
    await parts.store.put(f"view/{view_id}", None)
    await parts.audit.add(
        caller.tenant, caller.by, "deleted", "view", view_id, before={"name": view.name, "query": view.query}
    )


def _own(caller: CallerOf, view: View) -> bool:
    return (view.tenant, view.account) == (caller.tenant, caller.account)
