"""`stormweir check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.control import Rule
    from schemas.settings import Settings
    from streams.cli._control import Change
    from streams.control.state import Control
    from streams.policy.calendars import Named

DAYS = 30


def command(
    file: Annotated[Path, typer.Option("--file", "-f", help="The configuration.")] = Path("stormweir.yaml"),
) -> None:
    """Check a file as `apply` does, change nothing, and tell of each rule what it says and how often it matched."""
    import os

    from schemas.control import Calendar, Rule
    from schemas.settings import Settings
    from streams.cli._console import printable
    from streams.cli._control import Change, declared, transact
    from streams.control import document
    from streams.policy.calendars import Named
    from streams.policy.rule_sentence import rule_sentence

    _, records = declared(file)

    calendars: dict[tuple[str, str], Calendar] = {}

    def plan(control: Control) -> tuple[list[str], Change]:
        everything = {**control.environment, **control.records, **records}.values()
        calendars.update({(each.tenant, each.id): each for each in everything if isinstance(each, Calendar)})
        return document.check(records, {**control.environment, **control.records}), Change()

    warnings = transact(plan)
    rules = [record for record in records.values() if isinstance(record, Rule)]
    counts, reason = _counts(Settings.from_env(os.environ), rules, Named(calendars))
    for place, rule in enumerate(rules):
        print(printable(f"{rule.id}: {rule_sentence(rule)}"))
        if counts:
            print(f"    matched {counts[place]:,} alerts in {DAYS} days")
    for line in (*(f"warning: {text}" for text in warnings), *([reason] if reason else ())):
        print(printable(line))
    print(f"{len(records)} records are valid")


def _counts(settings: Settings, rules: Sequence[Rule], calendars: Named) -> tuple[list[int], str]:
    """How many alerts each rule's condition held for; none, and why, if ClickHouse does not say."""
    import asyncio
    import time

    from sinks.clickhouse.client import ClickHouse, ClickHouseError
    from streams.history.matches import count_matches
    from streams.policy.language import Span, parse
    from streams.process.logs import configure_logging

    configure_logging("check", "warning")
    end = time.time_ns() // 1_000_000
    counts = [0] * len(rules)

    async def run() -> None:
        address = settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database
        async with ClickHouse(*address) as clickhouse:
            for tenant in dict.fromkeys(rule.tenant for rule in rules):
                places = [place for place, rule in enumerate(rules) if rule.tenant == tenant]
                conditions = [parse(rules[place].conditions) for place in places]
                span = Span(tenant, end - DAYS * 86_400_000, end)
                found = await count_matches(clickhouse, span, conditions, calendars)
                for place, count in zip(places, found, strict=True):
                    counts[place] = count

    try:
        asyncio.run(run())
    except ClickHouseError as error:
        where = f"ClickHouse at {settings.clickhouse_url} failed: {error.reason}"
        return [], f"how often the rules matched is not known: {where}"
    return counts, ""
