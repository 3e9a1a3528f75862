"""`stormweir maintenance`: people work on a service, and nobody is told that it breaks."""

from __future__ import annotations

from typing import Annotated

import typer

commands = typer.Typer(no_args_is_help=True, help="Start, list and end maintenance of services.")

Tenant = Annotated[str, typer.Option(help="Whose it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@commands.command()
def start(
    services: Annotated[list[str], typer.Argument(metavar="SERVICE", help="One or more services.")],
    lasts: Annotated[str, typer.Option("--for", help="How long: 90s, 15m, 2h, 7d.")],
    reason: Annotated[str, typer.Option(help="Why, for those who ask.")],
    by: Annotated[str | None, typer.Option(help="Who works on it.", show_default="cli:<user>")] = None,
    start: Annotated[str | None, typer.Option("--from", help="When it begins.", show_default="now")] = None,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """Tell nobody of what breaks in these services; at the end tell what is still broken."""
    from schemas.control import Maintenance
    from streams.cli import _periods

    values = {"services": services}
    _periods.add(Maintenance, values, tenant=tenant, reason=reason, by=by, start=start, lasts=lasts, json=json)


@commands.command("list")
def list_(
    tenant: Tenant = "default",
    everything: Annotated[bool, typer.Option("--all", help="What is over, too.")] = False,
    json: AsJson = False,
) -> None:
    """Maintenance that is active, waits for its next time, or is planned."""
    from schemas.control import Maintenance
    from streams.cli import _periods

    _periods.show(Maintenance, "services", tenant=tenant, everything=everything, json=json)


@commands.command()
def end(
    which: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")], tenant: Tenant = "default"
) -> None:
    """End maintenance now; what is still broken is told."""
    from schemas.control import Maintenance
    from streams.cli import _periods

    _periods.end(Maintenance, which, tenant=tenant)
