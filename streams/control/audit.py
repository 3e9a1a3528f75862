"""What a change of the configuration leaves for the audit: one record for each record that differs. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from schemas.control import DEFAULT_TENANT, AnyRecord, Integration, control_key, installation_of, secrets_of
from schemas.fingerprint import uuid7
from schemas.wire.audit import AuditRecord
from streams.control.shown import masked_values
from streams.control.write import Change

#: Characters of one field's value that are kept.
_KEPT = 2_000


class Actor(NamedTuple):
    """Who acts, as the audit shows it, and the address it comes from; commands have none."""

    name: str
    address: str = ""


def audit_of(change: Change, known: Mapping[str, AnyRecord], by: Actor, now: int) -> Iterator[AuditRecord]:
    """The audit of a change to the `known` records; a record that stays the same leaves none. `now` is ms UTC."""
    for record in change.records:
        old = known.get(control_key(record))
        if old is None:
            yield _entry("created", record, by, now, after=masked_values(record))
        elif old != record:
            before, after = _differing(old, record)
            yield _entry("changed", record, by, now, before, after)
    for key in change.deletes:
        if (old := known.get(key)) is not None:
            yield _entry("deleted", old, by, now, before=masked_values(old))
        else:
            # Its secrets cannot be opened here, so nothing of it is known but its key.
            kind, *rest = key.split("/", 2)
            yield AuditRecord(
                tenant=rest[0] if len(rest) > 1 else DEFAULT_TENANT, audit_id=uuid7(now), at=now,
                actor=by.name, action="deleted", kind=kind, id=rest[-1], address=by.address,
            )  # fmt: skip


def shown_json(values: Mapping[str, Any] | None) -> str:
    """The values as a JSON object, empty for none; of a long value only the beginning is kept."""
    return json.dumps({name: _short(value) for name, value in values.items()}, ensure_ascii=False) if values else ""


def _entry(
    action: str,
    record: AnyRecord,
    by: Actor,
    now: int,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditRecord:
    return AuditRecord(
        tenant=record.owner,
        audit_id=uuid7(now),
        at=now,
        actor=by.name,
        action=action,
        kind=control_key(record).partition("/")[0],
        # An integration's id is its credential; the API names it by a digest as well.
        id=installation_of(record.id) if isinstance(record, Integration) else record.id,
        before=shown_json(before),
        after=shown_json(after),
        address=by.address,
    )


def _differing(old: AnyRecord, new: AnyRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """The masked values that differ, before and after. A secret that differs is said to, as two look alike masked."""
    shown = masked_values(old), masked_values(new)
    secret = secrets_of(type(new))
    values = old.model_dump(mode="json"), new.model_dump(mode="json")
    names = [name for name in {**values[0], **values[1]} if values[0].get(name) != values[1].get(name)]
    before = {name: shown[0][name] for name in names if name in shown[0]}
    after = {name: shown[1][name] for name in names if name in shown[1]}
    for name in names:
        if name in secret and after.get(name) and before.get(name) == after[name]:
            after[name] = f"{after[name]} (another one)"
    return before, after


def _short(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= _KEPT else f"{text[:_KEPT]}..."
