"""Changes to silences and maintenance. Pure, as streams.control.edits; `now` is in milliseconds since 1970 UTC."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from schemas.control import Period, control_key
from streams.control import document
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change
from streams.policy.recurrence import active_until

P = TypeVar("P", bound=Period)

#: Days for which what is over stays listed.
KEPT_DAYS = 30


def added(control: Control, model: type[P], values: Mapping[str, Any], now: int) -> tuple[P, list[str], Change]:
    """A new record with an id of its own, the warnings about it, and the change that writes it.

    `values` are its fields without `id`. Records of its kind that were over long ago are deleted with it. Raises
    FieldError for a bad field, ConfigurationError for what `stormweir apply` refuses.
    """
    try:
        record = model.model_validate({"id": f"{model.__name__.lower()}-{secrets.token_hex(4)}", **values})
    except ValidationError as error:
        first = error.errors()[0]
        raise FieldError(".".join(map(str, first["loc"])) or "record", first["msg"]) from None
    warnings = document.check({control_key(record): record}, {**control.environment, **control.records})
    old = now - KEPT_DAYS * 86_400_000
    over = [each for each in control.every(model).values() if each.tenant == record.tenant and each.ends_ms < old]
    return record, warnings, Change([record], [control_key(each) for each in over])


def ended(control: Control, model: type[P], tenant: str, which: str, now: int) -> tuple[str, Change]:
    """What became of the record with this id, and the change that ends it now. Raises FieldError if there is none."""
    found = control.every(model).get((tenant, which))
    if found is None:
        raise FieldError("id", f"the tenant {tenant} has no {which!r}; `list --all` shows all")
    if found.ends_ms <= now:
        return "was over already", Change()
    try:
        changed = model.model_validate({**found.model_dump(), "ends_at": datetime.fromtimestamp(now / 1000, UTC)})
    except ValidationError:  # it ends before it, or its first occurrence, would have begun
        return "deleted, it had not begun", Change([], [control_key(found)])
    return "ended", Change([changed])


def standing(period: Period, now: int) -> str:
    """In one word: `active`, `planned`, `waiting` for its next occurrence, or `over`."""
    if period.ends_ms <= now:
        return "over"
    if now < period.starts_ms:
        return "planned"
    return "waiting" if active_until(period, now) is None else "active"
