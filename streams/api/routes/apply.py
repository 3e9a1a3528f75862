"""A whole configuration at once, as `stormweir apply` takes it."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel

from schemas.control import AnyRecord
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.control import document
from streams.control.state import Control
from streams.control.write import Change

router = APIRouter()

#: Characters of a file.
LONGEST = 2_000_000


class Applied(BaseModel):
    """What changed, or with `dry_run` would change; `changed` counts records."""

    dry_run: bool
    diff: list[str]
    warnings: list[str]
    changed: int


@router.post("/apply")
async def apply_configuration(
    parts: PartsOf,
    caller: CallerOf,
    text: Annotated[str, Body(media_type="application/yaml", max_length=LONGEST)],
    dry_run: Annotated[bool, Query(description="Show what would change, change nothing.")] = False,
) -> Applied:
    """Make the tenant's configuration what the file says; records that it does not name stay."""
    try:
        records = document.load(text)
    except document.ConfigurationError as error:
        raise _invalid(error) from None
    foreign = sorted(key for key, record in records.items() if record.owner != caller.tenant)
    if foreign:
        wrong = [Wrong(key, f"is of another tenant than {caller.tenant!r}") for key in foreign[:20]]
        raise ProblemError(422, "the configuration is not valid", wrong)

    def plan(control: Control) -> tuple[Applied, Change]:
        _require_own(records, control, caller.tenant)
        wanted = document.plan(records, control.records)
        try:
            warnings = document.check(records, {**control.environment, **control.records})
        except document.ConfigurationError as error:
            raise _invalid(error) from None
        applied = Applied(dry_run=dry_run, diff=wanted.lines, warnings=warnings, changed=len(wanted.records))
        return applied, Change() if dry_run else Change(wanted.records)

    return await parts.transact(plan, caller.by)


def _require_own(records: Mapping[str, AnyRecord], control: Control, tenant: str) -> None:
    """Raise ProblemError if a record would replace one of another tenant: some ids are shared by all tenants.

    What it would replace is not told, because it is not the caller's.
    """
    places: Counter[str] = Counter()
    wrong = []
    for key in records:
        kind = key.partition("/")[0]
        old = control.records.get(key)
        if old is not None and old.owner != tenant:
            wrong.append(Wrong(f"{kind}s.{places[kind]}.id", "is taken"))
        places[kind] += 1
    if wrong:
        raise ProblemError(422, "the configuration is not valid", wrong)


def _invalid(error: document.ConfigurationError) -> ProblemError:
    lines = [line.strip().partition(": ") for line in str(error).splitlines()[1:]]
    return ProblemError(422, "the configuration is not valid", [Wrong(path, text) for path, _, text in lines])
