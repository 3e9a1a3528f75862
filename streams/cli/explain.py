"""`stormweir explain`: why somebody was told of an alert or an incident, or was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streams.history.explain import Sentence

#: How many alerts a message about an ambiguous id names.
_NAMES = 5
_DAY_MS = 86_400_000


def command(
    which: Annotated[
        str, typer.Argument(metavar="ALERT|INCIDENT", help="Its id, or at least the first 8 characters of it.")
    ],
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = "default",
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Tell from what is recorded, in order of time, what became of an alert or an incident, and who was told."""
    from streams.cli._console import print_json, printable
    from streams.cli._when import shown_ms

    about, sentences = _explained(which, tenant)
    lines = [{"at": shown_ms(each.at), "text": each.text} for each in sentences]
    if json:
        print_json({**about, "sentences": lines})
        return
    print(printable(" ".join(str(value) for value in about.values())))
    for line in lines:
        print(f"{line['at']}  {printable(line['text'])}")


def _explained(which: str, tenant: str) -> tuple[dict[str, Any], list[Sentence]]:
    """What it is about, and the sentences. Raises OperatorError if nothing has this id, or several have."""
    import re

    from streams.cli.incidents import asked, plain, query
    from streams.history import explain, queries
    from streams.process.errors import OperatorError

    prefix = which.lower()
    if not re.fullmatch(r"[0-9a-f-]{8,36}", prefix):
        raise OperatorError("ID: 8 to 36 characters of an id are needed, digits, a to f and dashes")
    found = query(queries.INCIDENTS_BY_ID, {"tenant": tenant, "prefix": prefix, "limit": _NAMES})
    kind, key = "incident", "incident_id"
    if not found:
        # An event's id begins with its time, milliseconds since 1970 in 48 bits; 8 digits leave 16 bits open.
        since = int(prefix[:8], 16) << 16 if "-" not in prefix[:8] else 0
        times = {"since": max(0, since - _DAY_MS), "until": since + _DAY_MS}
        found = query(queries.ALERTS_BY_ID, {"tenant": tenant, "prefix": prefix, "limit": _NAMES, **times})
        kind, key = "alert", "event_id"
    if not found:
        raise OperatorError(f"no alert and no incident {prefix}; a new one is in ClickHouse within seconds")
    if len(found) > 1:
        raise OperatorError(f"{prefix} is ambiguous: {', '.join(str(row[key]) for row in found)}")
    row = found[0]
    explains = explain.explain_incident if kind == "incident" else explain.explain_alert
    sentences = asked(lambda query: explains(query, tenant, row))
    shown = plain({name: row[name] for name in ("service", "severity", "summary" if kind == "alert" else "title")})
    return {"kind": kind, "id": str(row[key]), **shown}, sentences
