"""`stormweir storm`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ShapeName(StrEnum):
    """As in streams.storm.shapes.SHAPES."""

    STORM = "storm"
    UNIQUE = "unique"
    HOT_KEY = "hot-key"
    FLAPPING = "flapping"
    RESOLVE_WAVE = "resolve-wave"


class Via(StrEnum):
    """The way in for alerts."""

    HTTP = "http"
    KAFKA = "kafka"


class Encoding(StrEnum):
    """The encoding of records on `alerts.events`."""

    JSON = "json"
    AVRO = "avro"


def command(
    shape: Annotated[ShapeName, typer.Option(help="What the storm is made of.")] = ShapeName.STORM,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts in all.")] = 100_000,
    keys: Annotated[int, typer.Option(min=1, help="Distinct keys among them.")] = 2_000,
    services: Annotated[int, typer.Option(min=1, max=1000, help="Sample services the keys belong to.")] = 20,
    via: Annotated[Via, typer.Option(help="Through the gateway, or as records on alerts.events.")] = Via.HTTP,
    per_request: Annotated[
        int, typer.Option(min=1, max=1000, help="Alerts a request: 1 as Events API v2, more as Alertmanager v4.")
    ] = 1,
    connections: Annotated[int, typer.Option(min=1, max=4096, help="HTTP connections.")] = 64,
    rate: Annotated[float, typer.Option(min=0, help="Alerts a second, 0 for flat out.")] = 0,
    seed: Annotated[int, typer.Option(help="Part of every key: a new seed makes keys nobody has seen.")] = 1,
    encoding: Annotated[Encoding, typer.Option(help="Of records sent through Kafka.")] = Encoding.JSON,
    retry: Annotated[
        bool, typer.Option("--retry", help="Send again what got 429, 503 or no answer, instead of counting it.")
    ] = False,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds until everything must be stored.")] = 120,
    json: Annotated[Path | None, typer.Option(help="Write the result to this file.")] = None,
    ledger: Annotated[bool, typer.Option("--ledger/--no-ledger", help="Look every alert up in ClickHouse.")] = True,
) -> None:
    """Play an alert storm, then prove with SQL that every accepted alert is stored exactly once.

    Status 1 when one is missing or doubled, or nothing was accepted.
    """
    import os
    from contextlib import AsyncExitStack

    import orjson
    import uvloop
    from aiokafka.errors import KafkaError
    from rich.console import Console

    from schemas.settings import Settings
    from streams.cli._storm import ledger_query, progress_bars
    from streams.process.acls import topics_of
    from streams.process.errors import OperatorError
    from streams.process.kafka import Kafka
    from streams.process.topics import check_topics
    from streams.storm.play import Plan, play, prepare
    from streams.storm.shapes import Size
    from streams.storm.summary import Summary

    settings = Settings.from_env(os.environ)
    console = Console()
    plan = Plan(
        shape=shape.value,
        size=Size(alerts, keys, services, seed),
        via=via.value,
        per_request=per_request,
        connections=connections,
        rate=rate,
        retry=retry,
        encoding=encoding.value,
    )

    async def run() -> Summary:
        await check_topics(Kafka.of(settings), topics_of("storm"))
        async with AsyncExitStack() as stack:
            query = await stack.enter_async_context(ledger_query(settings)) if ledger else None
            await prepare(settings, services, gateway=via is Via.HTTP)
            progress = stack.enter_context(progress_bars(console))
            return await play(settings, [plan], query, deadline, progress)

    try:
        summary = uvloop.run(run())
    except (OSError, KafkaError) as error:
        raise OperatorError(f"{via.value}: {error} (does `stormweir up` run?)") from None
    if json is not None:
        json.write_bytes(orjson.dumps(summary.json(), option=orjson.OPT_INDENT_2) + b"\n")
    console.print(summary.table())
    for problem in summary.problems:
        console.print(f"[red]{problem}")
    if summary.problems:
        raise typer.Exit(1)
