"""What people tell Stormweir to do with an incident, and the answer. A command is a record on `alerts.unique`.

Its key is the incident's correlation key, so its order with the incident's alerts is total; the header COMMAND_HEADER
marks it.
"""

from enum import StrEnum

import msgspec

#: The header of a record on `alerts.unique` whose value is a Command.
COMMAND_HEADER = "command"


class CommandAction(StrEnum):
    """What a person can do with an incident."""

    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    RESOLVE = "resolve"
    NOTE = "note"


class Command(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One command. The same `command_id` (16 bytes) takes effect once. `at` is milliseconds since 1970 UTC.

    `actor` is who acts, as the timeline shows it: `slack:U123 (Ada)`, `cli:ada`.
    """

    command_id: bytes
    tenant: str
    incident_id: bytes
    correlation_key: bytes
    action: CommandAction
    actor: str
    at: int
    note: str = ""


class CommandEnd(StrEnum):
    """How a command ended: it took effect, the incident was in that state already, or there is no such open incident.

    `pending` says that no answer came in time: the command is on Kafka and takes effect later.
    """

    DONE = "done"
    ALREADY = "already"
    NOT_FOUND = "not_found"
    PENDING = "pending"


class CommandResult(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """The answer to a command: `version` is the incident's after it, 0 if unknown; `status` its state in words."""

    end: CommandEnd
    version: int = 0
    status: str = ""
    title: str = ""
