"""`stormweir secrets`: the keys that seal the secrets on the topic `control`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.cli._control import Change
    from streams.control.rotation import Rotation
    from streams.control.state import Control

commands = typer.Typer(no_args_is_help=True, help="Make, change and look at the keys that encrypt stored secrets.")

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@commands.command("new-key")
def new_key() -> None:
    """Print a new key, for STORMWEIR_SECRET_KEYS or the file of STORMWEIR_SECRET_KEYS_FILE."""
    from streams.control import secrets

    print(secrets.new_key())


@commands.command()
def status(json: AsJson = False) -> None:
    """Tell how many records each key seals, and how many have secrets in plain text."""
    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, transact
    from streams.control import rotation

    rows = [each._asdict() for each in transact(lambda control: (rotation.status(control), Change()))]
    if json:
        print_json(rows)
    else:
        print_table(("key", "state", "records"), rows)


@commands.command()
def rotate(
    delete_unopened: Annotated[
        bool, typer.Option("--delete-unopened", help="Delete records whose key is lost; apply them again afterwards.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    json: AsJson = False,
) -> None:
    """Seal every secret with the first key. Give all processes the new key before, remove the old one afterwards."""
    from streams.cli._console import print_json, printable
    from streams.cli._control import Change, transact
    from streams.control import rotation
    from streams.control.follow import masked

    lost = transact(lambda control: (sorted(control.unopened()), Change())) if delete_unopened else []
    if lost and not yes:
        typer.confirm(f"Delete {', '.join(map(printable, map(masked, lost)))}?", abort=True)

    def plan(control: Control) -> tuple[Rotation, Change]:
        return rotation.rotate(control, lost)

    done = transact(plan)
    if json:
        print_json(done._asdict())
        return
    print(f"{done.written} records sealed with the first key, {done.kept} were sealed with it already", end="")
    print(f", {done.deleted} deleted" if delete_unopened else "")
