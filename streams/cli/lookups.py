"""`stormweir lookups`: tables that give alerts labels, as records of the topic `control`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.cli._control import Change
    from streams.control.state import Control

commands = typer.Typer(no_args_is_help=True, help="Load, list and delete lookup tables, which give alerts labels.")

TableId = Annotated[str, typer.Argument(metavar="ID", help="The id that rules name in `enrich`.")]
Tenant = Annotated[str, typer.Option(help="Whose it is.")]


@commands.command()
def load(
    table_id: TableId,
    file: Annotated[Path, typer.Argument(help="A .csv with a line of names first, or a .json list of objects.")],
    key: Annotated[str, typer.Option("--key", "-k", help="The alert's field, and the column with its values.")],
    tenant: Tenant = "default",
) -> None:
    """Make or replace a table of a file; running processes use it within a second."""
    from schemas.control import Lookup
    from streams.cli._control import Change, transact
    from streams.control import lookups
    from streams.process.errors import OperatorError

    if file.suffix not in lookups.FORMATS:
        raise OperatorError(f"{file}: its name must end in {' or '.join(lookups.FORMATS)}")
    try:
        table = lookups.table(table_id, tenant, key, file.read_bytes(), file.suffix)
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error}") from None
    except OperatorError as error:
        raise OperatorError(f"{file}: {error}") from None

    def plan(control: Control) -> tuple[bool, Change]:
        same = control.every(Lookup).get((tenant, table_id)) == table
        return same, Change(() if same else [table])

    same = transact(plan)
    print(f"{table_id}: {'unchanged, ' if same else ''}{len(table.rows):,} rows by {key}")


@commands.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Every table, and the rules that use it."""
    from schemas.control import Lookup
    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, transact
    from streams.control import lookups

    def plan(control: Control) -> tuple[list[dict[str, object]], Change]:
        tables = sorted(control.every(Lookup).values(), key=lambda table: (table.tenant, table.id))
        return [
            {
                "id": table.id,
                "tenant": table.tenant,
                "key": table.key,
                "rows": len(table.rows),
                "rules": " ".join(lookups.users(control, table)),
            }
            for table in tables
        ], Change()

    rows = transact(plan)
    if json:
        print_json(rows)
    else:
        print_table(("id", "tenant", "key", "rows", "rules"), rows)


@commands.command()
def delete(
    table_id: TableId,
    tenant: Tenant = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a table that no rule uses."""
    from schemas.control import Lookup, control_key
    from streams.cli._control import Change, transact
    from streams.control import lookups
    from streams.process.errors import OperatorError

    if not yes:
        typer.confirm(f"Delete the table {table_id} of the tenant {tenant}?", abort=True)

    def plan(control: Control) -> tuple[None, Change]:
        table = control.every(Lookup).get((tenant, table_id))
        if table is None:
            raise OperatorError(f"no lookup table {table_id!r} of the tenant {tenant}")
        if users := lookups.users(control, table):
            raise OperatorError(f"{table_id} is used by the rules {', '.join(users)}")
        return None, Change(deletes=[control_key(table)])

    transact(plan)
    print(f"deleted {table_id}")
