"""Silences and maintenance on the command line: what `add`, `list` and `end` have in common."""

import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from getpass import getuser
from typing import Any, TypeVar

from schemas.control import Period
from streams.cli._console import print_json, print_table, printable
from streams.cli._control import Change, transact
from streams.cli._when import instant, length, shown
from streams.control.mutes import added, ended, standing
from streams.control.shown import masked_values
from streams.control.state import Control

P = TypeVar("P", bound=Period)


def add(
    model: type[P],
    values: Mapping[str, Any],
    *,
    tenant: str,
    reason: str,
    by: str | None,
    start: str | None,
    lasts: str,
    json: bool,
) -> None:
    """Write a new record, and print its id and its end."""
    starts_at = datetime.now(UTC).replace(microsecond=0) if start is None else instant("--from", start)
    author = f"cli:{getuser()}" if by is None else by
    times = {"starts_at": starts_at, "ends_at": starts_at + length("--for", lasts)}
    fields = {**values, **times, "tenant": tenant, "author": author, "reason": reason}

    def plan(control: Control) -> tuple[tuple[P, list[str]], Change]:
        record, warnings, change = added(control, model, fields, _now())
        return (record, warnings), change

    record, warnings = transact(plan)
    for warning in warnings:
        print(f"stormweir: warning: {warning}", file=sys.stderr)
    if json:
        print_json(masked_values(record))
    else:
        print(f"{record.id}  until {shown(record.ends_ms)}")


def show(model: type[P], field: str, *, tenant: str, everything: bool, json: bool) -> None:
    """Print the records, what is active first; `field` is what each is about."""
    now = _now()
    found = transact(lambda control: (list(control.every(model).values()), Change()))
    rows = [
        {"state": standing(each, now), **masked_values(each), field: ", ".join(getattr(each, field))}
        | {"starts_at": shown(each.starts_ms), "ends_at": shown(each.ends_ms)}
        for each in sorted(found, key=lambda each: (each.starts_ms, each.id))
        if each.tenant == tenant and (everything or each.ends_ms > now)
    ]
    rows.sort(key=lambda row: ("active", "waiting", "planned", "over").index(str(row["state"])))
    if json:
        print_json(rows)
    else:
        print_table(("id", "state", field, "starts_at", "ends_at", "author", "reason"), rows)


def end(model: type[P], which: str, *, tenant: str) -> None:
    """End a record now."""
    print(f"{printable(which)}  {transact(lambda control: ended(control, model, tenant, which, _now()))}")


def _now() -> int:
    return time.time_ns() // 1_000_000
