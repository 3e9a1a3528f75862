"""`stormweir incidents`: look at incidents, and tell Stormweir what to do with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from schemas.settings import Settings
    from schemas.wire.command import Command, CommandAction, CommandResult
    from streams.history.queries import Query

T = TypeVar("T")

commands = typer.Typer(
    no_args_is_help=True, help="List and show incidents; acknowledge, resolve, annotate, merge and split them."
)

Which = Annotated[str, typer.Argument(metavar="ID", help="Its id, or at least the first 8 characters of it.")]
Tenant = Annotated[str, typer.Option(help="Whose it is.")]
By = Annotated[str | None, typer.Option("--as", help="Who acts, as the timeline shows it.", show_default="cli:<user>")]
Note = Annotated[str, typer.Option(help="A line for the timeline.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]

#: Seconds in which Kafka must be reached.
_CONNECT_S = 10.0
#: How many incidents a message about an ambiguous id names.
_NAMES = 5
_PENDING_STATUS = 3


@commands.command("list")
def list_(
    tenant: Tenant = "default",
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too, newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 50,
    json: AsJson = False,
) -> None:
    """Incidents that are not resolved, the worst first."""
    from streams.cli._console import print_json, print_table
    from streams.history import queries

    sql = queries.NEWEST_INCIDENTS if everything else queries.OPEN_INCIDENTS
    rows = [plain(row) for row in query(sql, {"tenant": tenant, "limit": limit})]
    if json:
        print_json(rows)
    else:
        columns = ("incident_id", "status", "severity", "service", "title", "opened_at", "alert_count")
        print_table(columns, rows)


@commands.command()
def show(which: Which, tenant: Tenant = "default", json: AsJson = False) -> None:
    """One incident, and its timeline: what happened, who did it, who was told, and why somebody was not."""
    from streams.cli._console import print_json, print_table, printable
    from streams.history import queries

    incident = _find(which, tenant)
    scope = {"tenant": tenant, "incident_id": str(incident["incident_id"])}
    timeline = [plain(row) for row in query(queries.TIMELINE, scope)]
    row = plain(incident)
    if json:
        print_json({**row, "timeline": timeline})
        return
    for name, value in row.items():
        print(f"{name.replace('_', ' '):<17}{printable(value)}")
    print()
    print_table(("at", "what", "who", "detail"), [_line(line) for line in timeline])


@commands.command()
def ack(which: Which, note: Note = "", by: By = None, tenant: Tenant = "default", json: AsJson = False) -> None:
    """Acknowledge an incident. Status 2 if there is no such open incident, 3 if the answer is late."""
    _command("acknowledge", which, note, by, tenant, json=json)


@commands.command()
def unack(which: Which, note: Note = "", by: By = None, tenant: Tenant = "default", json: AsJson = False) -> None:
    """Take the acknowledgement of an incident back. Status as for `ack`."""
    _command("unacknowledge", which, note, by, tenant, json=json)


@commands.command()
def resolve(which: Which, note: Note = "", by: By = None, tenant: Tenant = "default", json: AsJson = False) -> None:
    """Resolve an incident. An alert of it that fires again opens a new one. Status as for `ack`."""
    _command("resolve", which, note, by, tenant, json=json)


@commands.command()
def note(
    which: Which,
    text: Annotated[str, typer.Argument(help="The line for the timeline.")],
    by: By = None,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """Add a line to the timeline of an open incident. Status as for `ack`."""
    from streams.process.errors import OperatorError

    if not text.strip():
        raise OperatorError("the note is empty")
    _command("note", which, text, by, tenant, json=json)


@commands.command()
def merge(
    which: Which,
    into: Annotated[str, typer.Argument(metavar="INTO", help="The other one, of the same service, as ID.")],
    note: Note = "",
    by: By = None,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """Make the alerts of an incident those of another one, and resolve it. Status as for `ack`."""
    _command("merge", which, note, by, tenant, json=json, into=into)


@commands.command()
def split(
    which: Which,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Dedup keys of open alerts of it.")],
    title: Annotated[str, typer.Option(help="Of the new incident.", show_default="as before")] = "",
    by: By = None,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """Move alerts of an incident into a new one; at least one must stay. Status as for `ack`."""
    _command("split", which, title, by, tenant, json=json, keys=keys)


def _command(
    action: str,
    which: str,
    note: str,
    by: str | None,
    tenant: str,
    *,
    json: bool,
    into: str = "",
    keys: Sequence[str] = (),
) -> None:
    import asyncio
    import time
    from getpass import getuser

    from schemas.fingerprint import uuid7, uuid_text
    from schemas.wire.command import MAX_ACTOR, MAX_NOTE, Command, CommandAction, CommandEnd
    from streams.cli._console import print_json, printable
    from streams.process.errors import OperatorError

    actor = f"cli:{getuser()}" if by is None else by
    if not actor.strip():
        raise OperatorError("--as: is empty")
    _check("--as", actor, MAX_ACTOR)
    _check("the note", note, MAX_NOTE)
    incident = _find(which, tenant)
    other = _find(into, tenant) if into else None
    command = Command(
        command_id=uuid7(),
        tenant=tenant,
        incident_id=incident["incident_id"].bytes,
        correlation_key=incident["correlation_key"].bytes,
        action=CommandAction(action),
        actor=actor,
        at=time.time_ns() // 1_000_000,
        note=note,
        other_id=other["incident_id"].bytes if other else bytes(16),
        other_key=other["correlation_key"].bytes if other else bytes(16),
        members=_members(keys, tenant) if keys else (),
    )
    result = asyncio.run(_submit(_settings(), command))
    name = uuid_text(command.incident_id)
    if json:
        answer = {"end": result.end, "version": result.version, "status": result.status, "title": result.title}
        print_json({"incident_id": name, "command_id": uuid_text(command.command_id), **answer})
    else:
        print(f"{name}  {printable(_told(result, command.action))}")
    raise typer.Exit({CommandEnd.NOT_FOUND: 2, CommandEnd.PENDING: _PENDING_STATUS}.get(result.end, 0))


def _check(name: str, text: str, most: int) -> None:
    """Raise OperatorError if the text is too long, or has bytes that are not UTF-8."""
    from streams.process.errors import OperatorError

    if len(text) > most:
        raise OperatorError(f"{name}: {len(text)} characters are too many, at most {most} are possible")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OperatorError(f"{name}: is not UTF-8 text") from None


def _members(keys: Sequence[str], tenant: str) -> tuple[bytes, ...]:
    """The fingerprints of alerts with these dedup keys. Raises OperatorError if there is none, or too many."""
    from streams.history.incidents import MembersError, members_of
    from streams.process.errors import OperatorError

    try:
        return asked(lambda query: members_of(query, tenant, keys))
    except MembersError as error:
        raise OperatorError(f"KEY: {error}") from None


def _told(result: CommandResult, action: CommandAction) -> str:
    from schemas.wire.command import CommandAction, CommandEnd

    match result.end:
        case CommandEnd.NOT_FOUND if result.version and action == CommandAction.MERGE:
            return "nothing changed: INTO is not open, or of another service"
        case CommandEnd.NOT_FOUND if result.version and action == CommandAction.SPLIT:
            return "nothing changed: none of these alerts is open in it, or none would stay"
        case CommandEnd.PENDING:
            return "pending: the command is stored, and takes effect when a worker gets to it"
        case CommandEnd.NOT_FOUND:
            return f"is not open: {result.status or 'unknown'}"
        case CommandEnd.ALREADY:
            return f"already {result.status}, version {result.version}: {result.title}"
        case CommandEnd.DONE:
            return f"{result.status}, version {result.version}: {result.title}"


async def _submit(settings: Settings, command: Command) -> CommandResult:
    import asyncio

    from schemas.topics import ALERTS_UNIQUE, REPLIES
    from streams.gateway.commands import Commands
    from streams.gateway.lanes import UnavailableError
    from streams.gateway.verdicts import Verdicts
    from streams.process.errors import OperatorError
    from streams.process.kafka import Kafka
    from streams.process.topics import check_topics

    kafka = Kafka.of(settings)
    await check_topics(kafka, [ALERTS_UNIQUE, REPLIES])
    verdicts = Verdicts(kafka)
    sender = Commands(kafka, verdicts)
    try:
        async with asyncio.timeout(_CONNECT_S):
            await asyncio.gather(verdicts.start(), sender.start())
        return await sender.submit(command)
    except (TimeoutError, UnavailableError):
        why = "`stormweir doctor --kafka --process incidents` says why"
        raise OperatorError(f"Kafka at {kafka.bootstrap} does not take commands: {why}") from None
    finally:
        await verdicts.stop()
        await sender.stop()


def _find(which: str, tenant: str) -> dict[str, Any]:
    """The incident whose id begins so. Raises OperatorError if there is none, or several."""
    import re

    from streams.history import queries
    from streams.process.errors import OperatorError

    prefix = which.lower()
    if not re.fullmatch(r"[0-9a-f-]{8,36}", prefix):
        raise OperatorError("ID: 8 to 36 characters of an incident's id are needed, digits, a to f and dashes")
    found = query(queries.INCIDENTS_BY_ID, {"tenant": tenant, "prefix": prefix, "limit": _NAMES})
    if not found:
        raise OperatorError(f"no incident {prefix}; a new one is in ClickHouse within seconds")
    if len(found) > 1:
        raise OperatorError(f"{prefix} is ambiguous: {', '.join(str(row['incident_id']) for row in found)}")
    return found[0]


def _settings() -> Settings:
    import os

    from schemas.settings import Settings

    return Settings.from_env(os.environ)


def query(sql: str, params: Mapping[str, object]) -> list[dict[str, Any]]:
    """The rows of a query. Raises OperatorError if ClickHouse fails."""
    return asked(lambda query: query(sql, params))


def asked(work: Callable[[Query], Awaitable[T]]) -> T:
    """What `work` finds in ClickHouse. Raises OperatorError if ClickHouse fails."""
    import asyncio

    from sinks.clickhouse.client import ClickHouse, ClickHouseError
    from streams.process.errors import OperatorError
    from streams.process.logs import configure_logging

    configure_logging("incidents", "warning")
    settings = _settings()

    async def run() -> T:
        address = settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database
        async with ClickHouse(*address) as clickhouse:
            return await work(clickhouse.query)

    try:
        return asyncio.run(run())
    except ClickHouseError as error:
        raise OperatorError(f"ClickHouse at {settings.clickhouse_url} failed: {error.reason}") from None


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row with values that JSON has; a time that is not yet is None."""
    from datetime import UTC, datetime
    from uuid import UUID

    def of(value: Any) -> Any:
        if isinstance(value, datetime):
            at = value.replace(tzinfo=value.tzinfo or UTC)
            return at.isoformat(timespec="milliseconds") if at.timestamp() else None
        return str(value) if isinstance(value, UUID) else value

    return {name: of(value) for name, value in row.items()}


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """One line of the timeline: an event, or a delivery with its outcome and the reason if it was not delivered."""
    if not row["destination"]:
        return {"at": row["at"], "what": row["kind"], "who": row["actor"], "detail": row["note"]}
    status = f"HTTP {row['http_status']}" if row["http_status"] else ""
    detail = ", ".join(filter(None, (row["outcome"], row["note"], status)))
    return {"at": row["at"], "what": f"told: {row['kind']}", "who": row["destination"], "detail": detail}
