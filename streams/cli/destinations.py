"""`stormweir destinations`: where notifications go, as records of the topic `control`, and how each does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.control import Destination
    from streams.cli._control import Change
    from streams.control.state import Control

commands = typer.Typer(no_args_is_help=True, help="List, try, enable, disable and delete destinations.")

Which = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]
Tenant = Annotated[str, typer.Option(help="Whose it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@commands.command("list")
def list_(tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None, json: AsJson = False) -> None:
    """Every destination: whether it works, when it was last used, how many rules use it, how much waits for it."""
    from streams.cli._console import print_json, print_table
    from streams.cli._standing import print_errors, read_standings, row

    rows = [row(each) for each in read_standings(tenant)[1]]
    if json:
        print_json(rows)
        return
    print_table(("id", "tenant", "type", "name", "status", "last_used", "rules", "waiting"), rows)
    print_errors(rows)


@commands.command()
def show(which: Which, tenant: Tenant = "default", json: AsJson = False) -> None:
    """One destination: how it does, which rules use it, and its settings; secrets stay hidden."""
    from json import dumps

    from streams.cli._console import print_json, printable
    from streams.cli._standing import read_standings, row
    from streams.control.shown import masked_values

    _, (standing,) = read_standings(tenant, which)
    settings = masked_values(standing.destination)
    value = row(standing) | {"rules": list(standing.rules)}
    if json:
        print_json(value | {"settings": settings})
        return
    for name, found in value.items():
        print(f"{name.replace('_', ' '):<17}{printable(' '.join(found) if isinstance(found, list) else found)}")
    print("\nsettings")
    for name, found in settings.items():
        print(f"  {name:<17}{dumps(found)}")


@commands.command("test")
def trial(which: Which, tenant: Tenant = "default", json: AsJson = False) -> None:
    """Send one test message from this machine, enabled or not, and tell how that ended. Status 1 if it was not taken.

    The message is about a made-up incident, which is stored nowhere.
    """
    import asyncio
    import os

    from schemas.settings import Settings
    from sinks.reasons import explain
    from streams.cli._console import print_json, printable
    from streams.delivery.sample import send_sample
    from streams.process.logs import configure_logging

    configure_logging("destinations", "error")
    found = _find(tenant, which)
    attempt = asyncio.run(send_sample(Settings.from_env(os.environ), found))
    ok = not attempt.reason
    meaning = explain(found.type, attempt.reason) if attempt.reason else None
    value: dict[str, object] = {
        "ok": ok,
        "latency_ms": attempt.finished_at - attempt.sent_at if attempt.sent_at else None,
        "http_status": attempt.http_status or None,
        "error": attempt.reason or None,
        "means": meaning.means if meaning else None,
        "do": meaning.do if meaning else None,
    }
    if json:
        print_json(value)
    else:
        for name, text in value.items():
            if text is not None:
                print(f"{name.replace('_', ' '):<13}{printable(text)}")
    raise typer.Exit(0 if ok else 1)


@commands.command()
def enable(which: Which, tenant: Tenant = "default") -> None:
    """Send to it again; what has waited is sent now."""
    _toggle(tenant, which, enabled=True)
    print(f"enabled {which}")


@commands.command()
def disable(which: Which, tenant: Tenant = "default") -> None:
    """Send nothing to it; what comes for it waits."""
    _toggle(tenant, which, enabled=False)
    print(f"disabled {which}")


@commands.command()
def delete(
    which: Which,
    tenant: Tenant = "default",
    confirm: Annotated[bool, typer.Option("--confirm", help="Needed: it cannot be undone.")] = False,
) -> None:
    """Delete a destination, and take it out of every rule and fallback that names it; what waits for it is not sent.

    Without --confirm: status 2, and what would change.
    """
    from schemas.control import control_key
    from streams.cli._control import transact
    from streams.control import document
    from streams.control.destinations import find_destination, without
    from streams.control.write import Change
    from streams.process.errors import OperatorError

    def plan(control: Control) -> tuple[list[str], Change]:
        wanted = without(control, find_destination(control, tenant, which))
        changed = document.plan({control_key(record): record for record in wanted.records}, control.records)
        lines = [*changed.lines, *(f"- {key}" for key in wanted.deletes)]
        return lines, wanted if confirm else Change()

    lines = transact(plan)
    if not confirm:
        raise OperatorError("\n".join([f"--confirm would delete {which} for good; nothing was changed:", *lines]))
    print("\n".join(lines))


def _find(tenant: str, which: str) -> Destination:
    from streams.cli._control import Change, transact
    from streams.control.destinations import find_destination

    return transact(lambda control: (find_destination(control, tenant, which), Change()))


def _toggle(tenant: str, which: str, *, enabled: bool) -> None:
    from streams.cli._control import Change, transact
    from streams.control.destinations import find_destination

    def plan(control: Control) -> tuple[None, Change]:
        found = find_destination(control, tenant, which)
        changed = found.model_copy(update={"enabled": enabled})
        return None, Change([changed] if changed != found else [])

    transact(plan)
