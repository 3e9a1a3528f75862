"""`stormweir rejections`: bodies of refused requests, kept on `rejected.bodies`, looked at and taken after a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.wire.rejection import RejectedBody

commands = typer.Typer(no_args_is_help=True, help="Look at bodies that were refused, and take them after a fix.")

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Which = Annotated[
    str | None, typer.Option("--integration", "-i", help="Only this one's, by its key or its first 6 characters.")
]


@commands.command("list")
def list_(integration: Which = None, json: AsJson = False) -> None:
    """The bodies that are kept, the oldest first, and what was wrong with each."""
    from streams.cli._console import print_json, print_table

    rows = [_row(body) for body in _read(integration)]
    if json:
        print_json(rows)
    else:
        print_table(("id", "at", "tenant", "integration", "provider", "size", "error"), rows)


@commands.command()
def show(which: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")], json: AsJson = False) -> None:
    """One request: its address, its headers and its body, all without credentials."""
    from schemas.wire.rejection import MAX_KEPT
    from streams.cli._console import print_json, printable

    [body] = _chosen(_read(None), [which])
    value = _row(body) | {"method": body.method, "path": body.path, "query": body.query, "headers": body.headers}
    text = body.body.decode("utf-8", "replace")
    if json:
        print_json(value | {"body": text})
        return
    for name, found in value.items():
        print(f"{name}: {printable(found)}")
    print()
    print("\n".join(printable(line) if line else "" for line in text.splitlines()))
    if body.size > MAX_KEPT:
        print(f"\n(the first {MAX_KEPT} of {body.size} bytes)")


@commands.command()
def replay(
    which: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.")] = None,
    integration: Which = None,
    json: AsJson = False,
) -> None:
    """Take bodies as if they came now, by today's formats and the integration's mapping. Status 1 if one is refused.

    A trigger opens an incident, also when its condition is over by now.
    """
    import asyncio

    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, kafka, transact
    from streams.gateway.kept_replay import replay
    from streams.process.errors import OperatorError

    if bool(which) == bool(integration):
        raise OperatorError("name the bodies, or an --integration for all of its own")
    bodies = _chosen(_read(integration), which) if which else _read(integration)
    control = transact(lambda control: (control, Change()))
    outcomes = asyncio.run(replay(kafka(), control, bodies))
    rows: list[dict[str, Any]] = [outcome._asdict() for outcome in outcomes]
    if json:
        print_json(rows)
    else:
        print_table(("id", "result", "reason"), rows)
    raise typer.Exit(1 if any(outcome.result == "refused" for outcome in outcomes) else 0)


def _read(integration: str | None) -> list[RejectedBody]:
    import asyncio

    from streams.cli._control import kafka
    from streams.gateway.kept_replay import kept
    from streams.process.logs import configure_logging

    configure_logging("rejections", "warning")
    bodies = asyncio.run(kept(kafka()))
    # Lists show six characters of a key; a longer beginning means the same key.
    return [b for b in bodies if integration is None or integration.startswith(b.integration.removesuffix("..."))]


def _chosen(bodies: list[RejectedBody], ids: list[str]) -> list[RejectedBody]:
    from schemas.fingerprint import uuid_text
    from streams.process.errors import OperatorError

    found = {uuid_text(body.event_id): body for body in bodies}
    if missing := [each for each in ids if each not in found]:
        raise OperatorError(f"no body with the id {', '.join(missing)} is kept; they are for 7 days")
    return [found[each] for each in ids]


def _row(body: RejectedBody) -> dict[str, Any]:
    from datetime import UTC, datetime

    from schemas.fingerprint import uuid_text

    at = datetime.fromtimestamp(int.from_bytes(body.event_id[:6], "big") / 1000, UTC)
    return {
        "id": uuid_text(body.event_id),
        "at": at.isoformat(timespec="milliseconds"),
        "tenant": body.tenant,
        "integration": body.integration,
        "provider": body.provider,
        "size": body.size,
        "error": f"{body.field}: {body.error}",
    }
