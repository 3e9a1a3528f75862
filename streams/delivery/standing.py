"""How destinations do, from what is configured (topic `control`) and what the notifier says (`destinations.status`)."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from schemas.control import Destination
from schemas.topics import DESTINATIONS_STATUS
from schemas.wire.notification import DestinationStatus
from sinks.contract import Help
from sinks.reasons import explain
from streams.control.destinations import rules_of
from streams.control.state import Control
from streams.process.kafka import Kafka
from streams.process.reading import records

Statuses = Mapping[tuple[str, str], DestinationStatus]
_NEVER = DestinationStatus(waiting=0, oldest=0, state="active")
_decode = msgspec.json.Decoder(DestinationStatus).decode


class Standing(NamedTuple):
    """A destination, whether it is `active`, `inactive` (disabled) or in `error`, and what waits for it.

    `reason` is that of the last failure since the last success, with its `help`; both are empty in another state than
    error. `waiting` incidents wait to be told, about since `oldest`. `rules` are those that route to it. Times are
    milliseconds since 1970 UTC, 0 for never.
    """

    destination: Destination
    state: str
    reason: str
    help: Help | None
    waiting: int
    oldest: int
    last_used: int
    rules: tuple[str, ...]


async def read_statuses(kafka: Kafka) -> Statuses:
    """The latest status of each destination, by tenant and id. Raises OperatorError when Kafka fails."""
    found: dict[tuple[str, str], DestinationStatus] = {}
    async for record in records(kafka, DESTINATIONS_STATUS):
        tenant, _, name = (record.key or b"").decode("utf-8", "replace").partition("/")
        try:
            found[tenant, name] = _decode(record.value or b"")
        except msgspec.DecodeError:
            found.pop((tenant, name), None)
    return found


def standings(control: Control, statuses: Statuses) -> list[Standing]:
    """Every destination of the configuration, by tenant and id."""
    return [standing(control, destination, statuses) for _, destination in sorted(control.destinations.items())]


def standing(control: Control, destination: Destination, statuses: Statuses) -> Standing:
    """How one destination does. The configuration decides whether it is disabled: the notifier may not run."""
    status = statuses.get((destination.tenant, destination.id), _NEVER)
    reason = status.reason if destination.enabled else ""
    return Standing(
        destination=destination,
        state="inactive" if not destination.enabled else "error" if reason else "active",
        reason=reason,
        help=explain(destination.type, reason) if reason else None,
        waiting=status.waiting,
        oldest=status.oldest,
        last_used=status.last_used,
        rules=tuple(rule.id for rule in rules_of(control, destination)),
    )
