"""`stormweir route-test`: who would be told of an alert, and when."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence


def command(
    config: Annotated[
        str, typer.Option("--config", "-f", metavar="FILE", help="The configuration; `current` is the one on Kafka.")
    ] = "current",
    alert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The alert as JSON, as on the topic alerts.events.")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A field of it: service=web, labels.env=prod.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="When it comes.", show_default="now")] = None,
    hours: Annotated[int, typer.Option(min=0, max=168, help="How long it stays open.")] = 24,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Tell who would be told of an alert that nobody handles, when, and why others would not. Sends nothing."""
    import time

    from streams.cli import _configured
    from streams.cli._console import print_json, printable
    from streams.cli._when import instant
    from streams.history.times import milliseconds
    from streams.process.errors import OperatorError
    from streams.rehearsal.sample import alert_of, rehearse, sentences

    begins = milliseconds(instant("--at", at)) if at is not None else time.time_ns() // 1_000_000
    try:
        sample = alert_of(_fields(alert, field or ()), begins)
    except ValueError as error:
        raise OperatorError(printable(f"the alert: {error}")) from None
    control = _configured.current() if config == _configured.CURRENT else _configured.alone(Path(config))
    names = [name for tenant, name in control.destinations if tenant == sample.tenant]
    told = rehearse(control, names, sample, hours * 3_600_000)
    if json:
        messages = [
            {**message._asdict(), "after": message.after / 1000, "reason": message.reason or None}
            for message in told.messages
        ]
        print_json({**told._asdict(), "messages": messages})
        return
    for line in sentences(told, sample, hours):
        print(printable(line))


def _fields(file: Path | None, pairs: Sequence[str]) -> dict[str, Any]:
    """The fields of the alert. Raises OperatorError."""
    import orjson

    from streams.process.errors import OperatorError

    found: dict[str, Any] = {}
    if file is not None:
        try:
            found = orjson.loads(file.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise OperatorError(f"{file}: {error}") from None
        if not isinstance(found, dict):
            raise OperatorError(f"{file}: an object is needed")
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise OperatorError(f"--field: {pair!r} is not NAME=VALUE")
        group, dot, label = name.partition(".")
        if dot and group == "labels":
            labels = found.setdefault("labels", {})
            if not isinstance(labels, dict):
                raise OperatorError(f"{file}: labels: an object is needed")
            labels[label] = value
        else:
            found[name] = value
    return {"dedup_key": "route-test", "summary": "route-test", **found}
