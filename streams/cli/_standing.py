"""What `deliveries` and `destinations` read and show of how destinations do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.control.state import Control
    from streams.delivery.standing import Standing


def read_standings(tenant: str | None, name: str | None = None) -> tuple[Control, list[Standing]]:
    """The configuration, and how its destinations do: of one tenant, and with this id, if these are given.

    Raises OperatorError when Kafka fails or has no such topics, FieldError when no destination has the id.
    """
    import asyncio

    from streams.cli._control import Change, kafka, transact
    from streams.control.edits import FieldError
    from streams.delivery.standing import read_statuses, standings

    control = transact(lambda control: (control, Change()))
    found = [
        each
        for each in standings(control, asyncio.run(read_statuses(kafka())))
        if tenant in (None, each.destination.tenant) and name in (None, each.destination.id)
    ]
    if name is not None and not found:
        raise FieldError("destination", f"there is no {name!r}; `stormweir destinations list` shows all")
    return control, found


def row(standing: Standing) -> dict[str, object]:
    """A line of a table, or an object of JSON."""
    from streams.cli._when import shown

    destination, meaning = standing.destination, standing.help
    return {
        "id": destination.id,
        "tenant": destination.tenant,
        "type": destination.type,
        "name": destination.name,
        "status": standing.state,
        "waiting": standing.waiting,
        "since": shown(standing.oldest),
        "last_used": shown(standing.last_used),
        "rules": len(standing.rules),
        "reason": standing.reason,
        "means": meaning.means if meaning else "",
        "do": meaning.do if meaning else "",
    }


def print_errors(rows: list[dict[str, object]]) -> None:
    """Below a table: for each destination in error the reason, what it means and what to do."""
    from streams.cli._console import printable

    failing = [found for found in rows if found["reason"]]
    if failing:
        print()
    for found in failing:
        print(printable(f"{found['tenant']}/{found['id']}: {found['reason']}. {found['means']} {found['do']}"))
