"""`stormweir accounts`: who may use the API and the console. Who may run it needs no account and no password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import datetime

    from schemas.control import Account
    from streams.cli._control import Change
    from streams.control.accounts import Made
    from streams.control.state import Control

commands = typer.Typer(no_args_is_help=True, help="List, invite, disable and reset people's accounts.")

Login = Annotated[str, typer.Argument(metavar="LOGIN", help="What the person logs in with.")]


@commands.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Every account."""
    from schemas.control import Account
    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, transact

    found = transact(lambda control: ([*control.every(Account).values()], Change()))
    found.sort(key=lambda account: (account.tenant, account.login))
    rows = [_row(account) for account in found if tenant in (None, account.tenant)]
    if json:
        print_json(rows)
    else:
        print_table(("login", "tenant", "name", "role", "enabled", "logs_in_by"), rows)


@commands.command()
def invite(
    login: Login,
    name: Annotated[str, typer.Option("--name", "-n", help="For people.")] = "",
    role: Annotated[str, typer.Option(help="owner, admin, member or viewer.")] = "viewer",
    tenant: Annotated[str, typer.Option(help="Whose incidents and settings it is for.")] = "default",
) -> None:
    """Make an account, and print the link with which its person sets a password: once, within 24 hours."""
    from streams.cli._control import Change, transact
    from streams.control import accounts

    def plan(control: Control) -> tuple[Made, Change]:
        values = {"login": login, "name": name, "role": role, "tenant": tenant}
        made = accounts.invited(accounts.new_account(control, values, _now()), _now())
        return made, Change([made.record])

    _print_link(transact(plan))


@commands.command()
def reset(login: Login) -> None:
    """Print a new link for an account: the password and every session end, the link sets a new password."""
    from streams.cli._control import Change, transact
    from streams.control import accounts

    def plan(control: Control) -> tuple[Made, Change]:
        made = accounts.invited(accounts.find_account(control, login), _now())
        return made, Change([made.record])

    _print_link(transact(plan))


@commands.command()
def disable(login: Login) -> None:
    """Let nobody log in with an account: its sessions end, and its tokens do not work."""
    _enable(login, False)


@commands.command()
def enable(login: Login) -> None:
    """Undo disable."""
    _enable(login, True)


def _enable(login: str, enabled: bool) -> None:
    from streams.cli._control import Change, transact
    from streams.control import accounts

    def plan(control: Control) -> tuple[Account, Change]:
        found = accounts.find_account(control, login)
        changed = accounts.changed_account(control, found, {"enabled": enabled})
        return changed, Change([changed])

    print(f"{'enabled' if enabled else 'disabled'} {transact(plan).login}")


def _print_link(made: Made) -> None:
    import os

    from schemas.settings import Settings
    from streams.api.identity.setup import link_of

    print(link_of(Settings.from_env(os.environ), made.token))


def _now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _row(account: Account) -> dict[str, object]:
    ways = [way for way, has in (("password", account.password), (account.issuer, account.subject)) if has]
    return {
        "login": account.login,
        "tenant": account.tenant,
        "name": account.name,
        "role": account.role,
        "enabled": account.enabled,
        "logs_in_by": " ".join(ways) or "nothing yet",
    }
