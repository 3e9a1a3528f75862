"""What people tell Stormweir to do with an incident, and the answer. A command is a record on `alerts.unique`.

Its key is the incident's scope (schemas.fingerprint), so its order with the incident's alerts is total; the header
COMMAND_HEADER marks it. Who waits for the answer adds the header `reply`; the answer comes in a Verdict
(schemas.wire.verdict).
"""

from enum import StrEnum
from typing import Annotated

import msgspec

#: The header of a record on `alerts.unique` whose value is a Command. Its own value is empty.
COMMAND_HEADER = "command"
#: Characters of a command's actor and note; a longer one makes the command unreadable.
MAX_ACTOR = 200
MAX_NOTE = 2000
#: Alerts that one command moves.
MAX_MEMBERS = 1000

#: The 16 bytes of an id.
Id = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class CommandAction(StrEnum):
    """What a person can do with an incident."""

    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    RESOLVE = "resolve"
    NOTE = "note"
    MERGE = "merge"
    SPLIT = "split"


class Command(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One command. The same `command_id` takes effect once. `at` is when it was sent, milliseconds since 1970 UTC by
    the sender's clock; the timeline has the broker's time.

    `actor` is who acts, as the timeline shows it: `slack:U123 (Ada)`, `cli:ada`. A merge makes the incident's members
    those of `other_id`, whose correlation key is `other_key`. A split moves the alerts with the fingerprints `members`
    into a new incident, whose title is `note` if there is one. An unacknowledge may be about one acknowledgement only,
    that of the incident's `acknowledged_at`; 0 is any.
    """

    command_id: Id
    tenant: str
    incident_id: Id
    correlation_key: Id
    action: CommandAction
    actor: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ACTOR)]
    at: int
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE)] = ""
    other_id: Id = bytes(16)
    other_key: Id = bytes(16)
    members: Annotated[tuple[Id, ...], msgspec.Meta(max_length=MAX_MEMBERS)] = ()
    acknowledged_at: int = 0


class CommandEnd(StrEnum):
    """How a command ended: it took effect, the incident was in that state already, or there is no such open incident
    (of a merge also the other one, of a split no such alert; then the answer has the incident's version).

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
