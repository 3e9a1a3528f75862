"""The event stream: what it tells and when, clients that come back, are slow, leave, or may not stay."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from schemas.wire.incident import Status
from streams.api.app import PREFIX, application
from streams.api.caller import Caller
from streams.api.limits import Limit
from streams.api.model import feed as feeds
from streams.api.model.feed import KEPT, MAX_CHANGED, MAX_WAITING, Feed
from streams.api.problems import ProblemError
from streams.api.roles import Role
from streams.api.routes import stream
from tests.api.conftest import parts
from tests.api.reading import NOW, Fed, gone, incident, reading, records

Event = tuple[str, str, Any]


class Client:
    """A client of the event stream, over ASGI: it reads what has been sent, and leaves."""

    def __init__(self, app: FastAPI, last_event_id: str | None = None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._left = asyncio.Event()
        self._asked = False
        headers = [(b"x-caller", b"default/viewer")]
        if last_event_id is not None:
            headers.append((b"last-event-id", last_event_id.encode()))
        path = f"{PREFIX}/stream"
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8405),
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def events(self, count: int) -> list[Event]:
        """The next events: id, name and data."""
        found: list[Event] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                for text in (await self._parts.get()).decode().split("\n\n"):
                    lines = dict(line.split(": ", 1) for line in text.split("\n") if line)
                    if "event" in lines:
                        found.append((lines.get("id", ""), lines["event"], json.loads(lines["data"])))
        return found

    async def leave(self) -> None:
        """Close the connection, and wait for what that ends."""
        self._left.set()
        await asyncio.wait_for(self.task, 10)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif body := message.get("body"):
            self._parts.put_nowait(body)


@asynccontextmanager
async def streaming(folder: Path, **more: Any) -> AsyncIterator[tuple[Fed, FastAPI]]:
    """A model and the application on it."""
    async with reading(folder) as model:
        yield model, application(parts(model=model, **more))


async def test_changes_come_as_events(tmp_path: Path) -> None:
    """First a ping with the time; then what changed, once each, with what is gone; each tenant its own."""
    async with streaming(tmp_path) as (model, app):
        client = Client(app)
        ((_, name, data),) = await client.events(1)
        assert (name, data, client.status) == ("ping", {"as_of": "2026-11-18T11:06:40.000Z"}, 200)
        assert client.headers["content-type"].startswith("text/event-stream")
        model.feed(records(incident(1), incident(2, tenant="acme")))
        model.feed(records(incident(1, version=2, title="<img onerror>\n\nevent: x")), NOW + 5)
        model.feeds.flush(model.as_of)
        ((first, name, data),) = await client.events(1)
        assert (name, data["as_of"], data["gone"]) == ("incidents", "2026-11-18T11:06:40.005Z", [])
        assert [(each["version"], each["title"]) for each in data["changed"]] == [(2, "<img onerror>\n\nevent: x")]
        model.feed([gone(incident(1).incident_id), gone(incident(2).incident_id)])
        model.feeds.flush(model.as_of)
        ((second, _, data),) = await client.events(1)
        assert (data["changed"], data["gone"]) == ([], ["00000000-0000-0000-0000-000000000001"])
        assert first != second
        await client.leave()


async def test_a_client_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    """By the id of the last event; one of another process, or of long ago, is told to read anew."""
    async with streaming(tmp_path) as (model, app):
        feed = model.feeds.of("default")
        for number in range(1, 4):
            model.feed(records(incident(number)))
            feed.flush(NOW)
        client = Client(app)
        events = (await client.events(4))[1:]
        await client.leave()
        again = Client(app, events[0][0])
        assert (await again.events(3))[1:] == events[1:]
        await again.leave()
        for unknown in ("0-1", "x", events[0][0] + "0", "", "-", "é-1"):
            stranger = Client(app, unknown)
            assert [name for _, name, _ in await stranger.events(2)] == ["ping", "reset"]
            await stranger.leave()
        for number in range(KEPT + 1):
            model.feed(records(incident(1, version=number + 2)))
            feed.flush(NOW)
        late = Client(app, events[0][0])
        (_, (place, name, _)) = await late.events(2)
        assert name == "reset"
        await late.leave()
        current = Client(app, place)
        model.feed(records(incident(7)))
        feed.flush(NOW)
        assert [name for _, name, _ in await current.events(2)] == ["ping", "incidents"]
        await current.leave()


def put(feed: Feed, first: int, last: int, *, news: bool) -> None:
    for number in range(first, last):
        feed.put(incident(number), news=news)


def changed(feed: Feed, place: int) -> list[list[str]]:
    """The ids in each event after the place."""
    events, _ = feed.after(place)
    data = [json.loads(event.decode().split("data: ")[1]) for event in events]
    return [[each["title"] for each in event["changed"]] for event in data]


async def test_what_people_act_on_leaves_before_counts() -> None:
    """An event has a bounded number of incidents; the rest waits for the next, and an incident is in one of them."""
    feed = Feed()
    put(feed, 1, MAX_CHANGED + 100, news=False)
    put(feed, 5, 10, news=True)
    feed.put(incident(5, version=2), news=False)
    feed.flush(NOW)
    feed.flush(NOW)
    feed.flush(NOW)
    first, second = changed(feed, 0)
    assert first[:5] == [f"disk {number} is full" for number in range(5, 10)]
    assert (len(first), len(set(first) | set(second))) == (MAX_CHANGED, MAX_CHANGED + 99)
    assert len(second) == 99


async def test_too_much_that_waits_is_a_reset() -> None:
    """Memory is bounded: everybody reads anew, and then the stream goes on."""
    feed = Feed()
    place = feed.place(None)
    put(feed, 1, MAX_WAITING + 2, news=True)
    feed.flush(NOW)
    events, place = feed.after(place)
    assert [event.decode().split("\n")[1] for event in events] == ["event: reset"]
    feed.put(incident(1), news=True)
    feed.flush(NOW)
    assert changed(feed, place) == [["disk 1 is full"]]


async def test_kept_events_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ones are fewer."""
    monkeypatch.setattr(feeds, "KEPT_BYTES", 10_000)
    feed = Feed()
    for number in range(20):
        feed.put(incident(number + 1, title="x" * 1_000), news=True)
        feed.flush(NOW)
    events, _ = feed.after(feed.place(None))
    assert 1 < len(events) < 8
    assert sum(map(len, events)) <= 10_000


async def test_a_slow_client_is_told_to_read_anew(tmp_path: Path) -> None:
    """It finds that events are missing; nothing is kept for it."""
    async with streaming(tmp_path) as (model, app):
        feed = model.feeds.of("default")
        client = Client(app)
        await client.events(1)
        for number in range(KEPT + 1):
            feed.put(incident(1, version=number + 1), news=False)
            feed.flush(NOW)
        assert [name for _, name, _ in await client.events(1)] == ["reset"]
        await client.leave()


async def test_a_model_that_is_read_anew_resets_everybody(tmp_path: Path) -> None:
    """And a new client begins after it."""
    async with streaming(tmp_path) as (model, app):
        model.feed(records(incident(1)))
        model.feeds.flush(NOW)
        client = Client(app)
        await client.events(2)
        model.renew()
        assert [name for _, name, _ in await client.events(1)] == ["reset"]
        await client.leave()


async def test_a_thousand_clients_that_left_leave_no_task(tmp_path: Path) -> None:
    """Whether they read or not, and none of what they held is kept."""
    async with streaming(tmp_path, limit=Limit(1_000, 1_000)) as (model, app):
        before = asyncio.all_tasks()
        clients = [Client(app) for _ in range(1_000)]
        for client in clients:
            await client.events(1)
        model.feed(records(incident(1)))
        model.feeds.flush(NOW)
        for client in clients[::2]:
            await client.events(1)
        assert len(asyncio.all_tasks()) > 1_000
        for client in clients:
            await client.leave()
        assert asyncio.all_tasks() == before
        clients.clear()
        del client
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Client)]


class Changing:
    """An identity that can change its mind."""

    def __init__(self) -> None:
        self.now = "default/viewer"

    async def caller(self, _: Request) -> Caller | None:
        """The caller as it is now; `locked` is refused."""
        tenant, _, role = self.now.partition("/")
        if role == "locked":
            raise ProblemError(401, "no")
        return Caller(tenant, f"a-{role}", role, Role.of(role), f"a-{role}") if role else None


@pytest.mark.parametrize("then", ["default/", "default/locked", "default/admin", "acme/viewer"])
async def test_a_stream_ends_with_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """At the next ping after it is revoked, or is another's; a caller that stays gets the ping."""
    monkeypatch.setattr(stream, "PING_S", 0.05)
    identity = Changing()
    async with streaming(tmp_path, identity=identity) as (_, app):
        client = Client(app)
        assert [name for _, name, _ in await client.events(3)] == ["ping"] * 3
        identity.now = then
        await asyncio.wait_for(client.task, 10)


async def test_a_busy_stream_is_pinged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events do not put the check off."""
    monkeypatch.setattr(stream, "PING_S", 0.05)
    identity = Changing()
    async with streaming(tmp_path, identity=identity) as (model, app):
        client = Client(app)
        identity.now = "default/"
        async with asyncio.timeout(10):
            while not client.task.done():
                model.feed(records(incident(1, status=Status.OPEN)))
                model.feeds.flush(NOW)
                await asyncio.sleep(0)
