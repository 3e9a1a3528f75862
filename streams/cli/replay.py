"""`stormweir replay`: what another configuration would have done with recorded alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: The status if the record is not reproduced.
_DIFFERENT = 1


def command(
    since: Annotated[str, typer.Option("--from", help="When it begins: 2h, 7d, or a time as 2026-11-26T13:00Z.")],
    until: Annotated[str | None, typer.Option("--to", help="When it ends.", show_default="now")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="What `apply` would be given; nothing is applied.")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="As of `apply`: delete what the file does not name.")] = False,
    warm_up: Annotated[str, typer.Option(help="Alerts of this long before are replayed, and not counted.")] = "1h",
    late: Annotated[str, typer.Option(help="A first page that comes this much later is late.")] = "5m",
    anyway: Annotated[bool, typer.Option("--anyway", help="Go on if the record is not reproduced.")] = False,
    tenant: Annotated[str, typer.Option(help="Whose alerts.")] = "default",
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Tell on stderr which part is done, 0 to 1.")] = False,
) -> None:
    """Replay recorded alerts under today's configuration, which must decide as is recorded, and then under another.

    Status 1 if today's configuration does not decide as is recorded. Sends and changes nothing.
    """
    import asyncio
    import os
    import sys

    from schemas.settings import Settings
    from sinks.clickhouse.client import ClickHouse, ClickHouseError
    from streams.cli import _configured
    from streams.cli._console import print_json, printable
    from streams.cli._when import length, moment
    from streams.history.replayed import Window, replayed, text
    from streams.process.errors import OperatorError
    from streams.process.logs import configure_logging

    begin = moment("--from", since)
    end = moment("--to", until) if until is not None else moment("--to", "0s")
    if end <= begin:
        raise OperatorError("--to: is not after --from")
    before, latest = (
        int(each.total_seconds() * 1000) for each in (length("--warm-up", warm_up), length("--late", late))
    )
    window = Window(tenant, max(0, begin - before), begin, end, latest)
    configure_logging("replay", "warning")
    today = _configured.current()
    new = _configured.applied(config, today, prune=prune) if config is not None else None
    settings = Settings.from_env(os.environ)

    async def run() -> dict[str, object]:
        address = settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database
        async with ClickHouse(*address) as clickhouse:
            return await replayed(clickhouse, window, today, new, anyway=anyway, told=told)

    def told(part: float) -> None:
        if progress:
            print(f"{part:.3f}", file=sys.stderr, flush=True)

    try:
        report = asyncio.run(run())
    except ClickHouseError as error:
        raise OperatorError(f"ClickHouse at {settings.clickhouse_url} failed: {error.reason}") from None
    if json:
        print_json(report)
    else:
        for line in text(report):
            print(printable(line) if line else "")
    equal = report["record"]["equal"]  # type: ignore[index]
    raise typer.Exit(0 if equal or anyway else _DIFFERENT)
