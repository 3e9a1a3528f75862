"""`stormweir silences`: keep people from being told of some incidents for a time."""

from __future__ import annotations

from typing import Annotated

import typer

commands = typer.Typer(no_args_is_help=True, help="Add, list, end and preview silences.")

Match = Annotated[list[str], typer.Option("--match", help="A condition; all must hold. For each another --match.")]
Tenant = Annotated[str, typer.Option(help="Whose it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]

#: Incidents that a preview reads at most, and open ones that it lists.
_READ = 100_000
_LISTED = 50


@commands.command()
def add(
    match: Match,
    lasts: Annotated[str, typer.Option("--for", help="How long: 90s, 15m, 2h, 7d.")],
    reason: Annotated[str, typer.Option(help="Why, for those who ask.")],
    by: Annotated[str | None, typer.Option(help="Who silences.", show_default="cli:<user>")] = None,
    start: Annotated[str | None, typer.Option("--from", help="When it begins.", show_default="now")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="It may hide every incident.")] = False,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """Tell nobody that matching incidents start. Ends are told to those who know of the start."""
    from schemas.control import Silence
    from streams.cli import _periods

    values = {"match": match, "everything": everything}
    _periods.add(Silence, values, tenant=tenant, reason=reason, by=by, start=start, lasts=lasts, json=json)


@commands.command("list")
def list_(
    tenant: Tenant = "default",
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    json: AsJson = False,
) -> None:
    """Silences that are active, wait for their next time, or are planned."""
    from schemas.control import Silence
    from streams.cli import _periods

    _periods.show(Silence, "match", tenant=tenant, everything=everything, json=json)


@commands.command()
def end(
    which: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")], tenant: Tenant = "default"
) -> None:
    """End a silence now; what it hid and is still open is told."""
    from schemas.control import Silence
    from streams.cli import _periods

    _periods.end(Silence, which, tenant=tenant)


@commands.command("preview")
def preview_(
    match: Match,
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days to look back.")] = 30,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """What such a silence would hide: open incidents, and how many a day. Changes nothing."""
    import time

    from streams.cli._console import print_json, print_table, printable
    from streams.cli.incidents import plain, query
    from streams.history import queries
    from streams.history.preview import preview, sentence
    from streams.policy.language import compile_incident
    from streams.process.errors import OperatorError

    try:
        compile_incident(match)
    except ValueError as error:
        raise OperatorError(printable(f"--match: {error}")) from None
    now = time.time_ns() // 1_000_000
    since = now - days * 86_400_000
    rows = query(queries.INCIDENTS_SINCE, {"tenant": tenant, "since": since, "limit": _READ})
    found = preview([{**row, "tenant": tenant} for row in rows], match, since, now, _READ)
    hidden = [plain(dict(row)) for row in found.open]
    if json:
        print_json({"open": hidden, "a_day": round(found.rate.a_day, 2), "days": round(found.rate.days, 2)})
        return
    print(sentence(len(hidden), found.rate))
    if hidden:
        print()
        print_table(("incident_id", "status", "severity", "service", "title", "opened_at"), hidden[:_LISTED])
        if len(hidden) > _LISTED:
            print(f"and {len(hidden) - _LISTED:,} more; --json shows all")
