"""What correlation does with a person's command (schemas.wire.command): it changes the incident, and says how it ended.

A command is idempotent by its id: each incident remembers the newest ids that reached it while it was open, also
those of commands that changed nothing: an acknowledgement that comes again must not take effect once the first ended.

A resolve by a person ends the incident, not its alerts. If one of them fires after it, dedup still takes it for a
repeat, so the new incident opens when correlation hears of the repeat: at once if it raises the severity, comes after a
window without repeats or is of a request that waits, else when its window ends. An alert that does not fire again, or
that its sender resolves, opens none. With `reopen` it is the same incident that is open again.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.wire.codec import decode_command
from schemas.wire.command import COMMAND_HEADER, Command, CommandAction, CommandEnd, CommandResult
from schemas.wire.incident import Incident, Status
from streams.policy import incidents
from streams.stages import moves
from streams.stages.changes import Change
from streams.stages.configuration import Configuration
from streams.stages.correlate_table import Open, Table
from streams.stages.reopening import past_until

#: The ids that an incident remembers: enough for every repetition of a sender, and at most 576 bytes.
REMEMBERED = 32
_MOVES = frozenset({CommandAction.MERGE, CommandAction.SPLIT})


class Obeyed(NamedTuple):
    """The effect of a command: the changes, and the answer. The caller must tell each change as it comes, and then keep
    its incident, unless that is resolved.
    """

    changes: Iterable[Change]
    incident_id: bytes
    result: CommandResult


def is_command(headers: Sequence[tuple[str, bytes]]) -> bool:
    """Whether the record with these headers is a command."""
    return any(name == COMMAND_HEADER for name, _ in headers)


def obey(table: Table, control: Configuration, value: bytes, now: int, forget_at: int) -> Obeyed:
    """Apply the command of a record to the table. Raises DecodeError.

    `forget_at` is when the record of an incident that is resolved now gets deleted, in milliseconds.
    """
    command = decode_command(value)
    found = table.find(command.correlation_key, command.incident_id)
    if found is None or found.incident.tenant != command.tenant:
        return Obeyed((), command.incident_id, _without_open(table, command))
    if command.command_id in found.commands:
        return Obeyed((), command.incident_id, _result(CommandEnd.DONE, found.incident))
    found.commands = (*found.commands, command.command_id)[-REMEMBERED:]
    changes = _change(table, control, found, command, now, forget_at)
    if changes is None:
        table.keep(found)
        end = CommandEnd.NOT_FOUND if command.action in _MOVES else CommandEnd.ALREADY
        return Obeyed((), command.incident_id, _result(end, found.incident))
    return Obeyed(changes, command.incident_id, _result(CommandEnd.DONE, found.incident))


def _change(
    table: Table, control: Configuration, found: Open, command: Command, now: int, forget_at: int
) -> Iterable[Change] | None:
    if command.action == CommandAction.MERGE:
        return moves.merge(table, found, command, now, forget_at)
    if command.action == CommandAction.SPLIT:
        return moves.split(table, found, command, now)
    changed = incidents.obey(found.incident, command, now)
    if changed is None:
        return None
    found.incident, event = changed
    if found.incident.status == Status.RESOLVED:
        reopen = control.service(found.incident.tenant, found.incident.service).reopen
        table.resolve_by_person(found, forget_at, past_until(reopen, now))
    return [Change(found, event)]


def _without_open(table: Table, command: Command) -> CommandResult:
    """The answer if no such incident is open: it may have been resolved, even by this command."""
    end = CommandEnd.ALREADY if command.action == CommandAction.RESOLVE else CommandEnd.NOT_FOUND
    resolved = table.resolved(command.incident_id)
    if resolved is None and table.is_resolved(command.incident_id):
        return CommandResult(end=end, status=incidents.WORDS[Status.RESOLVED])
    if resolved is None or resolved.incident.tenant != command.tenant:
        return CommandResult(end=CommandEnd.NOT_FOUND)
    return _result(CommandEnd.DONE if command.command_id in resolved.commands else end, resolved.incident)


def _result(end: CommandEnd, incident: Incident) -> CommandResult:
    return CommandResult(
        end=end, version=incident.version, status=incidents.WORDS[incident.status], title=incident.title
    )
