"""A running stack: an alert is in the list and in the event stream, and a command is seen at once."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from schemas.control import Integration, Service
from schemas.settings import Settings
from streams.control.follow import publish
from streams.embedded.stack import Stack
from streams.process.kafka import Kafka
from tests.conftest import FreePorts, free_base

pytestmark = [pytest.mark.broker, pytest.mark.stack]

KEY = "a" * 32
PASSWORD = "correct horse battery"
_WITHIN_S = 20.0


@pytest.mark.timeout(240)
async def test_an_alert_is_listed_streamed_and_acknowledged(tmp_path: Path, free_ports: FreePorts) -> None:
    """What the gateway takes is in the list and comes as an event; the answer to a command is in the list that is read
    next. After a restart of the API the list is the same, and the client that comes back reads it anew.
    """
    settings = Settings(data_dir=tmp_path / "data", port_base=free_base(free_ports), partitions=2)
    stack = Stack(settings)
    assert await stack.start() == []
    try:
        await publish(
            Kafka(settings.bootstrap),
            [Service(id="s"), Integration(id=KEY, name="a", type="webhook", service="s")],
        )
        async with logged_in(settings) as api:
            async with api.stream("GET", "/stream", timeout=30) as answer:
                events = _events(answer)
                await send(settings, "disk is full")
                (opened,) = await wait_for(events, "disk is full")
                assert (opened["status"], opened["service"]) == ("open", "s")
                page = (await api.get("/incidents", params={"q": "disk", "status": "open"})).json()
                assert [item["id"] for item in page["items"]] == [opened["id"]]
                assert (page["total"], page["facets"]["status"]) == (1, {"open": 1})

                began = time.monotonic()
                done = await api.post(f"/incidents/{opened['id']}/commands", json={"action": "acknowledge"})
                assert (done.status_code, done.json()) == (200, {"end": "done", "version": 2, "status": "acknowledged"})
                page = (await api.get("/incidents", params={"mine": "true"})).json()
                assert [(item["id"], item["acknowledged_by"]) for item in page["items"]] == [(opened["id"], "ada")]
                (acknowledged,) = await wait_for(events, "disk is full")
                assert (acknowledged["status"], acknowledged["version"]) == ("acknowledged", 2)
                print(f"acknowledged and seen after {time.monotonic() - began:.3f} s")

            stack.kill("api", hold=True)
            await asyncio.wait_for(stack.resume("api"), 60)
            after = (await api.get("/incidents")).json()
            assert after["items"] == page["items"]
            async with api.stream("GET", "/stream", headers={"Last-Event-ID": "gone-1"}, timeout=30) as answer:
                assert [name async for name, _ in _first(_events(answer), 2)] == ["ping", "reset"]
    finally:
        await stack.stop()


@asynccontextmanager
async def logged_in(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that calls as the first owner, whose link the API printed."""
    printed = (settings.data_dir / "logs" / "api.log").read_text()
    token = re.search(r"make the first account at \S+?([\w-]{20,})\s", printed)
    assert token is not None, printed
    base = f"http://127.0.0.1:{settings.port('api')}/api/v1"
    async with httpx2.AsyncClient(base_url=base, headers={"Sec-Fetch-Site": "same-origin"}) as api:
        body = {"token": token[1], "login": "ada", "password": PASSWORD, "name": "Ada"}
        answer = await api.post("/setup", json=body)
        assert answer.status_code == 204, answer.text
        answer = await api.post("/session", json={"login": "ada", "password": PASSWORD})
        assert answer.status_code == 204, answer.text
        yield api


async def send(settings: Settings, summary: str) -> None:
    """An alert for the gateway."""
    url = f"http://127.0.0.1:{settings.port('gateway')}/api/integrations/webhook?integrationId={KEY}"
    async with httpx2.AsyncClient() as sender:
        answer = await sender.post(url, json={"summary": summary, "dedup_key": summary})
        assert answer.status_code == 202, answer.text


async def wait_for(events: AsyncIterator[tuple[str, Any]], title: str) -> list[dict[str, Any]]:
    """The incidents with this title in the next event that has some."""
    async with asyncio.timeout(_WITHIN_S):
        async for name, data in events:
            if name == "incidents" and (found := [each for each in data["changed"] if each["title"] == title]):
                return found
    raise AssertionError("the stream ended")


async def _events(answer: httpx2.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def _first(events: AsyncIterator[tuple[str, Any]], count: int) -> AsyncIterator[tuple[str, Any]]:
    for _ in range(count):
        yield await asyncio.wait_for(anext(events), _WITHIN_S)
