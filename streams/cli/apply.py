"""`stormweir apply`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.cli._control import Change
    from streams.control.state import Control


def command(
    file: Annotated[Path, typer.Option("--file", "-f", help="The configuration.")] = Path("stormweir.yaml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete what the file's lists do not name.")] = False,
) -> None:
    """Make the configuration what a file says; running processes follow within a second."""
    from streams.cli._control import Change, declared, transact
    from streams.control import document

    parsed, records = declared(file)

    def plan(control: Control) -> tuple[list[str], Change]:
        known = control.records
        changes = document.plan(records, known, prune=parsed if prune else ())
        staying = {key: known[key] for key in known if key not in changes.deletes}
        warnings = document.check(records, {**control.environment, **staying})
        count, done = len(changes.records) + len(changes.deletes), "would change" if dry_run else "changed"
        total = f"{count} of {len(records) + len(changes.deletes)} records {done}" if count else "nothing to change"
        lines = [*changes.lines, *(f"warning: {text}" for text in warnings), total]
        return lines, Change() if dry_run else Change(changes.records, changes.deletes)

    print("\n".join(transact(plan)))
