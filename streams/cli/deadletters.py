"""`stormweir deadletters`: records that could not be used, looked at and put back after a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.delivery.letters import Found, Wanted

commands = typer.Typer(no_args_is_help=True, help="Look at records that could not be used, and put them back.")

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Stage = Annotated[str, typer.Option(help="Only of this stage: normalize, dedup, correlate, notify, write.")]
Reason = Annotated[str, typer.Option(help="Only with this reason or error.")]
Since = Annotated[str | None, typer.Option(help="Only since then: 15m, 2h, 7d, or a time.")]
Destination = Annotated[str | None, typer.Option("--destination", "-d", help="Only this one's notifications.")]
Tenant = Annotated[str, typer.Option(help="The destination's tenant.")]

#: Bytes of a body that `show` prints.
_SHOWN = 4_096


@commands.command("list")
def list_(
    stage: Stage = "",
    reason: Reason = "",
    since: Since = None,
    destination: Destination = None,
    tenant: Tenant = "default",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many at most.")] = 20,
    json: AsJson = False,
) -> None:
    """The dead letters of the last 7 days, the newest first."""
    from streams.cli._console import print_json, print_table

    found = _collect(_wanted(stage, reason, since, destination, tenant), limit)
    rows = [_row(each) for each in found]
    if json:
        print_json(rows)
        return
    rows = [row | {"error": str(row["error"])[:60], "key": str(row["key"])[:40]} for row in rows]
    print_table(("id", "at", "stage", "reason", "error", "topic", "key", "size", "replayed"), rows)


@commands.command()
def show(which: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")], json: AsJson = False) -> None:
    """One dead letter: where its record came from, why it could not be used, and its body without credentials."""
    from streams.cli._console import print_json, printable
    from streams.cli._control import Change, kafka, transact
    from streams.delivery.letters import target
    from streams.gateway.kept import Mask

    (found,) = _these([which])
    letter = found.letter
    keys = transact(lambda control: (set(control.integrations), Change()))
    to = target(letter, kafka().ours)
    value = _row(found) | {
        "partition": letter.partition,
        "offset": letter.offset,
        "last_offset": letter.last_offset if letter.last_offset >= 0 else None,
        "row": letter.row,
        "replay": f"no: {to}" if isinstance(to, str) else f"to {to.name}",
    }
    body = Mask(keys).body(letter.body)[:_SHOWN].decode("utf-8", "backslashreplace")
    if json:
        print_json(value | {"body": body})
        return
    for name, text in value.items():
        print(f"{name}: {printable(text)}")
    print()
    print("".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in body))
    if len(letter.body) > _SHOWN:
        print(f"\n(the first {_SHOWN} of {len(letter.body)} bytes)")


@commands.command()
def replay(
    which: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.")] = None,
    stage: Stage = "",
    reason: Reason = "",
    since: Since = None,
    destination: Destination = None,
    tenant: Tenant = "default",
    again: Annotated[bool, typer.Option("--again", help="Also those that were put back already.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Needed to put back more than one.")] = False,
    json: AsJson = False,
) -> None:
    """Put records back on the topic that they came from, once each. Status 2 when --yes is missing: nothing is sent.

    A notification is sent even if its destination has had it, and tells the incident as it was then.
    """
    from streams.process.errors import OperatorError

    chosen = any((stage, reason, since, destination))
    if bool(which) == chosen:
        raise OperatorError("name the dead letters, or choose them by --stage, --reason, --since or --destination")
    found = _these(which) if which else _collect(_wanted(stage, reason, since, destination, tenant))
    put_back(found, again=again, yes=yes, json=json)


def put_back(found: list[Found], *, again: bool, yes: bool, json: bool) -> None:
    """Put these back, print how many went where, and why others stayed."""
    import asyncio

    from streams.cli._console import print_json, printable
    from streams.cli._control import kafka
    from streams.delivery.replay import plan, replay
    from streams.process.errors import OperatorError

    planned = plan(kafka(), found, again=again)
    count = len(planned.letters)
    going = [f"{number} to {topic}" for topic, number in planned.by_topic.items()]
    if count > 1 and not yes:
        raise OperatorError(f"{count} records would be put back ({', '.join(going)}): --yes does it; nothing was sent")
    asyncio.run(replay(kafka(), planned))
    if json:
        print_json({"replayed": count, "topics": planned.by_topic, "stayed": planned.stay})
        return
    print(f"{count} put back" + (f": {', '.join(going)}" if going else ""))
    for why, number in planned.stay.items():
        print(printable(f"{number} not put back: {why}"))


def _wanted(stage: str, reason: str, since: str | None, destination: str | None, tenant: str) -> Wanted:
    from streams.cli._when import moment
    from streams.delivery.letters import matching

    at = moment("--since", since) if since is not None else 0
    return matching(stage=stage, reason=reason, since=at, destination=(tenant, destination) if destination else None)


def _collect(wanted: Wanted, most: int | None = None) -> list[Found]:
    import asyncio

    from streams.cli._control import kafka
    from streams.delivery.letters import collect
    from streams.process.logs import configure_logging

    configure_logging("deadletters", "warning")
    return asyncio.run(collect(kafka(), wanted, most=most))


def _these(ids: list[str]) -> list[Found]:
    from streams.delivery.letters import place_of
    from streams.process.errors import OperatorError

    places = {place_of(text) for text in ids}
    found = _collect(lambda each: each.place in places)
    if missing := places - {each.place for each in found}:
        raise OperatorError(f"no dead letter {', '.join(map(str, sorted(missing)))}; they stay for 7 days")
    return found


def _row(found: Found) -> dict[str, object]:
    from streams.cli._when import shown

    letter = found.letter
    key = letter.key.decode("utf-8", "replace")
    return {
        "id": str(found.place),
        "at": shown(found.at),
        "stage": letter.stage,
        "reason": letter.reason,
        "error": letter.error,
        "topic": letter.topic,
        "key": key if key.isprintable() and "\ufffd" not in key else letter.key.hex(),
        "size": len(letter.body),
        "replayed": shown(found.replayed_at),
    }
