"""`stormweir deliveries`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.settings import Settings

#: How far back attempts are shown unless `--since` says otherwise.
_SINCE = "24h"


def command(
    destination: Annotated[
        str | None, typer.Option("--destination", "-d", help="Only this one's, with its latest attempts.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Show attempts, and only those that failed.")] = False,
    since: Annotated[
        str | None, typer.Option(help="Show attempts, since then: 15m, 2h, 7d, or a time. Default: 24h.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many attempts at most.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What waits for which destination and since when, and what keeps it.

    With --destination, --failed or --since also the latest delivery attempts, from ClickHouse.
    """
    import asyncio
    import os

    from schemas.settings import Settings
    from streams.cli._console import print_json, print_table
    from streams.cli._standing import print_errors, read_standings, row
    from streams.cli._when import moment

    wanted = destination is not None or failed or since is not None
    at = moment("--since", since or _SINCE)
    rows = [row(each) for each in read_standings(tenant, destination)[1]]

    def attempts() -> list[dict[str, Any]]:
        named = {"tenant": tenant or "", "destination": destination or ""}
        params = {**named, "failed": int(failed), "since": at, "limit": limit}
        return asyncio.run(read_attempts(Settings.from_env(os.environ), params))

    if json:
        print_json({"destinations": rows, "attempts": attempts() if wanted else None})
        return
    print_table(("tenant", "id", "type", "status", "waiting", "since", "last_used"), rows)
    print_errors(rows)
    if wanted:
        print()
        columns = ("finished_at", "tenant", "destination", "transition", "outcome", "attempt", "http_status", "error")
        print_table((*columns, "incident_id"), attempts())


async def read_attempts(settings: Settings, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of queries.ATTEMPTS with times and ids as text. Raises OperatorError when ClickHouse does not answer."""
    from datetime import UTC, datetime

    from sinks.clickhouse.client import ClickHouse, ClickHouseError
    from streams.history.queries import ATTEMPTS
    from streams.process.errors import OperatorError

    url = settings.clickhouse_url
    try:
        async with ClickHouse(url, settings.clickhouse_token, settings.clickhouse_database) as clickhouse:
            found = await clickhouse.query(ATTEMPTS, params)
    except ClickHouseError as error:
        raise OperatorError(f"ClickHouse at {url} does not tell the attempts: {error.reason}") from None

    def shown(value: Any) -> Any:
        if not isinstance(value, datetime):
            return value if isinstance(value, int) else str(value)
        # The time of a message that was never sent is 0.
        return value.replace(tzinfo=UTC).isoformat(timespec="milliseconds") if value.year > 1970 else None

    return [{name: shown(value) for name, value in row.items()} for row in found]
