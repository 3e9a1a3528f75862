"""What runs, and how current the answers are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sinks.clickhouse.client import ClickHouseError
from streams.process.kafka import Kafka
from tests.api.conftest import MakeClient, parts
from tests.api.reading import incident, reading, records

NOWHERE = Kafka("127.0.0.1:1")


async def test_a_viewer_sees_how_current_the_answers_are(client: MakeClient, tmp_path: Path) -> None:
    """The time, and the records that are not read; Kafka is away here, ClickHouse answers."""
    async with reading(tmp_path, incident()) as model:
        viewer = await client(parts(model=model, kafka=NOWHERE), "viewer")
        told = (await viewer.get("/status")).json()
        assert (told["as_of"], told["lag"]) == ("2026-11-18T11:06:40.000Z", 0)
        assert (told["kafka"], told["clickhouse"]) == (False, True)
        model.take(model.store.apply(records(incident(2)), {0: 2}, 1), model.as_of, 7)
        assert (await viewer.get("/status")).json()["lag"] == 7
        one = (await viewer.get("/incidents/00000000-0000-0000-0000-000000000001")).json()
        assert one["as_of"] == told["as_of"]


async def test_what_is_not_known_is_null(client: MakeClient) -> None:
    """Before anything was read there is no time and no lag; ClickHouse that does not answer is told."""

    async def query(sql: str, params: Mapping[str, object]) -> list[dict[str, Any]]:
        raise ClickHouseError("away", None, "unreachable")

    told = (await (await client(parts(kafka=NOWHERE, query=query), "viewer")).get("/status")).json()
    assert (told["as_of"], told["lag"], told["kafka"], told["clickhouse"]) == (None, None, False, False)
