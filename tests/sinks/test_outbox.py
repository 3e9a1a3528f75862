"""Deliveries to real servers on loopback, out of a table, with a clock that the test moves."""

import asyncio
from itertools import pairwise

import aiohttp
import msgspec
import orjson
import pytest
from aiohttp import web

from schemas.control import control_key
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import MAX_RELATED, Change, Notification, Transition
from sinks.contract import PAGE, THREE_RETRIES
from sinks.outbox.retry import next_at
from tests.sinks.outbox_room import room
from tests.sinks.samples import (
    QUEUED_AT,
    control,
    destination,
    notification,
    of_incident,
    recording,
    related,
    until,
)

SHORT = aiohttp.ClientTimeout(total=0.3, connect=0.3)


def failing(count: int) -> list[web.Response]:
    """So many answers of a server that has a failure of its own."""
    return [web.Response(status=503) for _ in range(count)]


async def test_first_attempt_delivers() -> None:
    """One request; one row with all times; nothing waits any more."""
    async with recording() as server, room(control(destination(server.url))) as desk:
        desk.take(notification())
        await desk.ended(1)
        (row,) = desk.deliveries
        assert (row.outcome, row.attempt, row.http_status, row.error) == ("delivered", 1, 200, "")
        assert row.queued_at == QUEUED_AT
        assert row.sent_at == row.finished_at == desk.time.now
        assert len(server.requests) == 1
        assert desk.waiting == 0


async def test_three_retries_with_doubling_waits() -> None:
    """A35: 503 three times, then 200: four requests under one id, about 1, 2 and 4 s apart."""
    async with recording(*failing(3)) as server, room(control(destination(server.url))) as desk:
        desk.take(notification())
        await desk.ended(1, step=0.01)
        assert [row.outcome for row in desk.deliveries] == ["retry", "retry", "retry", "delivered"]
        assert [row.attempt for row in desk.deliveries] == [1, 2, 3, 4]
        assert len({request.headers["webhook-id"] for request, _ in server.requests}) == 1
        starts = [row.sent_at for row in desk.deliveries]
        for gap, expected in zip((b - a for a, b in pairwise(starts)), (1000, 2000, 4000), strict=True):
            assert 0.75 * expected <= gap <= 1.35 * expected


async def test_after_the_last_retry_it_is_a_dead_letter_with_its_bytes() -> None:
    """Four failures: `failed`, and a letter that names the record and has the notification in it."""
    answers = [web.Response(status=500) for _ in range(4)]
    async with recording(*answers) as server, room(control(destination(server.url))) as desk:
        desk.take(notification())
        await desk.ended(1, step=0.05)
        assert desk.ends[-1] == ("failed", "unavailable")
        (letter,) = desk.dead_letters
        assert (letter.stage, letter.reason, letter.error) == ("notify", "undelivered", "unavailable")
        assert (letter.topic, letter.offset) == ("notifications", 0)
        assert msgspec.msgpack.decode(letter.body, type=Notification) == notification()


async def test_given_up_goes_to_the_fallback() -> None:
    """The other destination gets the same news under an id of its own."""
    async with recording(web.Response(status=400)) as server:
        first = destination(server.url, fallback="other")
        second = destination(server.url).model_copy(update={"id": "other"})
        async with room(control(first, second)) as desk:
            desk.take(notification())
            await desk.ended(1)
            (passed,) = desk.passed_on
            assert (passed.destination, passed.incident) == ("other", notification().incident)
            assert passed.notification_id != notification().notification_id


async def test_newer_news_of_a_waiting_incident_replace_older_ones() -> None:
    """While the first attempt is under way two more changes come: two requests, and every id ends once."""
    async with recording() as server, room(control(destination(server.url))) as desk:
        server.gate = asyncio.Event()
        one, two, three = (notification(n, t) for n, t in enumerate(("triggered", "escalated", "acknowledged")))
        desk.take(one)
        await until(lambda: server.busy == 1)
        desk.take(two)
        desk.take(three)
        server.gate.set()
        await desk.ended(3)
        assert desk.ends == [("delivered", ""), ("suppressed", "superseded"), ("delivered", "")]
        assert [row.notification_id for row in desk.deliveries] == [n.notification_id for n in (one, two, three)]
        assert len(server.requests) == 2


@pytest.mark.parametrize("setting", ["send", "skip"])
async def test_what_an_older_message_named_is_named_by_the_newer(setting: str) -> None:
    """The other incidents of a message that a newer one replaced are told, also if its own incident is over."""
    off = destination("http://127.0.0.1:9/", enabled=False)
    async with recording() as server, room(control(off)) as desk:
        over = notification(1, Transition.RESOLVED, status=Status.RESOLVED)
        older = msgspec.structs.replace(notification(), related=related(MAX_RELATED), more=3)
        newer = msgspec.structs.replace(over, related=related(1, change=Change.RESOLVED, incident_id=b"x" * 16))
        desk.take(older, newer)
        on = destination(server.url, unseen_resolved=setting)
        desk.control.apply(control_key(off), on.model_dump_json().encode())
        await desk.ended(2, step=1)
        ((_, sent),) = server.requests
        told = orjson.loads(sent)
        assert (told["event"], told["more"], len(told["related"])) == ("incident.resolved", 4, MAX_RELATED)
        assert [each["change"] for each in told["related"][:2]] == ["resolved", "new"]


@pytest.mark.parametrize(("setting", "requests"), [("send", 1), ("skip", 0)])
async def test_an_incident_that_resolved_before_it_was_told(setting: str, requests: int) -> None:
    """One message that says both, or none, by setting; the first change is superseded in both cases."""
    off = destination("http://127.0.0.1:9/", enabled=False)
    async with recording() as server, room(control(off)) as desk:
        desk.take(notification(), notification(1, Transition.RESOLVED, status=Status.RESOLVED))
        desk.control.apply(
            control_key(off), destination(server.url, unseen_resolved=setting).model_dump_json().encode()
        )
        await desk.ended(2, step=1)
        assert len(server.requests) == requests
        last = ("delivered", "") if requests else ("suppressed", "resolved_before_sent")
        assert desk.ends == [("suppressed", "superseded"), last]


async def test_a_copy_of_what_waits_or_was_told_changes_nothing_and_redelivery_does() -> None:
    """The worker sends copies after a kill; an operator who asks for it gets it sent again."""
    async with recording() as server, room(control(destination(server.url))) as desk:
        desk.take(notification(), notification())
        await desk.ended(1)
        desk.take(notification())
        await asyncio.sleep(0.05)
        assert len(server.requests) == 1
        desk.take(notification(), redeliver=True)
        await desk.ended(2)
        assert len(server.requests) == 2


async def test_what_is_sent_again_has_its_whole_time_again() -> None:
    """A notification that is older than its deadline is retried as a new one when an operator sends it again."""
    async with recording(*failing(1)) as server, room(control(destination(server.url))) as desk:
        desk.time.advance(2 * 86_400)
        desk.take(notification(), redeliver=True)
        await desk.ended(1, step=0.01)
        assert [row.outcome for row in desk.deliveries] == ["retry", "delivered"]
        assert {row.queued_at for row in desk.deliveries} == {QUEUED_AT}


async def test_a_dead_destination_holds_up_no_other() -> None:
    """300 wait for one that never answers, 100 more go to another at once."""
    async with recording() as dead, recording() as alive:
        dead.gate = asyncio.Event()
        other = destination(alive.url).model_copy(update={"id": "other"})
        async with room(control(destination(dead.url), other)) as desk:
            desk.take(*(of_incident(number) for number in range(300)))
            desk.take(*(msgspec.structs.replace(of_incident(n), destination="other") for n in range(100)))
            await desk.ended(100)
            assert len(alive.requests) == 100
            assert dead.busy == 8
            assert desk.waiting == 300


async def test_a_status_outlives_the_notifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """A39: after a restart a destination was still last used when it was, and is in error until it takes something."""
    monkeypatch.setattr("sinks.outbox.outbox.REPORT_S", 0.01)
    async with recording(web.Response(), web.Response(status=400)) as server:
        state = control(destination(server.url))
        async with room(state) as desk:
            desk.take(notification())
            await desk.ended(1)
            used = desk.time.now
            desk.take(notification(1))
            await desk.ended(2)
            await until(lambda: [s.reason for s in desk.statuses][-1:] == ["rejected"])
            table = desk.state
        server.gate = asyncio.Event()
        async with room(state, state=table) as desk:
            desk.take(notification(2))
            await until(lambda: desk.statuses)
            (status, *_) = desk.statuses
            assert (status.state, status.reason, status.last_used, status.waiting) == ("error", "rejected", used, 1)
            server.gate.set()
            await until(lambda: desk.statuses[-1].state == "active")


async def test_no_more_under_way_than_are_not_durable() -> None:
    """A slot is free only once its result is durable: a kill repeats at most eight."""
    async with recording() as server, room(control(destination(server.url))) as desk:
        desk.durable.clear()
        desk.take(*(of_incident(number) for number in range(50)))
        await until(lambda: len(server.requests) == 8)
        await asyncio.sleep(0.05)
        assert len(server.requests) == 8
        desk.durable.set()
        await desk.ended(50)
        assert len(server.requests) == 50


async def test_the_next_owner_goes_on_with_what_waits() -> None:
    """The order of the queue, the attempts made, and what was told are in the table."""
    async with recording(*failing(2)) as server:
        state = control(destination(server.url))
        async with room(state) as desk:
            desk.take(notification())
            await until(lambda: desk.ends == [("retry", "unavailable")])
            table = desk.state
        async with room(state, state=table) as desk:
            await desk.ended(1, step=0.05)
            assert [row.attempt for row in desk.deliveries] == [2, 3]


async def test_a_disabled_destination_keeps_what_waits() -> None:
    """Nothing is sent or given up for a day; once enabled, the newest state is sent."""
    off = destination("http://127.0.0.1:9/", enabled=False)
    async with recording() as server, room(control(off)) as desk:
        desk.take(notification())
        for _ in range(100):
            desk.time.advance(900)
        await asyncio.sleep(0)
        assert (desk.ends, desk.waiting) == ([], 1)
        desk.control.apply(control_key(off), destination(server.url).model_dump_json().encode())
        await desk.ended(1, step=1)
        assert desk.ends == [("delivered", "")]


async def test_an_unknown_destination_is_a_reason() -> None:
    """Whatever waits for one that was deleted ends as suppressed."""
    async with room(control()) as desk:
        desk.take(*(of_incident(number) for number in range(450)))
        await desk.ended(450)
        assert set(desk.ends) == {("suppressed", "unknown_destination")}


async def test_one_probe_of_a_dead_destination() -> None:
    """Five failures open the breaker; half a minute later exactly one request goes, and its success frees the rest."""
    async with (
        recording(*(web.Response(status=503) for _ in range(8))) as server,
        room(control(destination(server.url))) as desk,
    ):
        desk.durable.clear()
        desk.take(*(of_incident(number) for number in range(20)))
        await until(lambda: len(desk.ends) == 8)
        desk.durable.set()
        desk.time.advance(29)
        await asyncio.sleep(0.05)
        assert len(server.requests) == 8
        server.gate = asyncio.Event()
        desk.time.advance(2)
        await until(lambda: server.busy == 1)
        desk.time.advance(29)
        await asyncio.sleep(0.05)
        assert len(server.requests) == 9
        server.gate.set()
        await desk.ended(20, step=0.1)
        assert len(server.requests) == 28


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_misconfigured_destination_is_asked_seldom_and_loses_nothing(status: int) -> None:
    """The refused message is a dead letter; the others wait, until the settings change."""
    async with recording(*(web.Response(status=status) for _ in range(8))) as server:
        wrong = destination(server.url)
        async with room(control(wrong)) as desk:
            desk.take(*(of_incident(number) for number in range(20)))
            await desk.ended(8)
            desk.time.advance(200)
            await asyncio.sleep(0.05)
            assert len(server.requests) == 8
            assert desk.waiting == 12
            right = destination(server.url, headers={"Authorization": "right"})
            desk.control.apply(control_key(wrong), right.model_dump_json().encode())
            await desk.ended(20, step=1)
            assert [outcome for outcome, _ in desk.ends].count("delivered") == 12
            assert len(desk.dead_letters) == 8


@pytest.mark.parametrize(("asked", "kept"), [("7", 7), ("99999", 3600)])
async def test_retry_after_is_obeyed_up_to_an_hour(asked: str, kept: float) -> None:
    """Nothing goes to the destination before the time that it asked for."""
    async with (
        recording(web.Response(status=429, headers={"Retry-After": asked})) as server,
        room(control(destination(server.url))) as desk,
    ):
        desk.take(notification())
        await until(lambda: desk.ends == [("retry", "rate_limited")])
        desk.take(of_incident(1))
        desk.time.advance(kept - 1)
        await asyncio.sleep(0.05)
        assert len(server.requests) == 1
        await desk.ended(2, step=0.5)
        assert len(server.requests) == 3


async def test_what_cannot_be_sent_in_its_time_is_given_up_although_nothing_is_tried() -> None:
    """Behind an open breaker 300 messages pass their deadline of a day: dead letters, in portions."""
    async with (
        recording(*(web.Response(status=503) for _ in range(8))) as server,
        room(control(destination(server.url))) as desk,
    ):
        desk.durable.clear()
        desk.take(*(of_incident(number) for number in range(300)))
        await until(lambda: len(desk.ends) == 8)
        desk.durable.set()
        server.answers += failing(100)
        desk.time.advance(86_400)
        await desk.ended(300, step=31)
        assert {outcome for outcome, _ in desk.ends} == {"retry", "failed"}
        assert len(desk.dead_letters) == 300
        assert desk.waiting == 0


async def test_what_is_urgent_goes_first() -> None:
    """Ten of low urgency and one of high wait for a disabled destination; the urgent one is sent first."""
    off = destination("http://127.0.0.1:9/", enabled=False)
    async with recording() as server, room(control(off)) as desk:
        desk.take(*(of_incident(number, severity=Severity.INFO) for number in range(10)), of_incident(99))
        desk.control.apply(control_key(off), destination(server.url).model_dump_json().encode())
        await desk.ended(11, step=1)
        assert b'"critical"' in server.requests[0][1]


async def test_a_timeout_is_a_failed_attempt() -> None:
    """A50: no answer in time; the same message is tried again."""
    async with recording() as server, room(control(destination(server.url)), timeout=SHORT) as desk:
        server.gate = asyncio.Event()
        desk.take(notification())
        await until(lambda: desk.ends == [("retry", "timeout")])
        server.gate.set()
        await desk.ended(1, step=0.1)


async def test_closing_lets_what_is_under_way_end() -> None:
    """The message at the vendor is settled; the others stay in the table."""
    async with recording() as server, room(control(destination(server.url))) as desk:
        server.gate = asyncio.Event()
        desk.take(*(of_incident(number) for number in range(20)))
        await until(lambda: server.busy == 8)
        closing = asyncio.create_task(desk.outbox.close(5))
        await asyncio.sleep(0.02)
        server.gate.set()
        await closing
        assert desk.ends == [("delivered", "")] * 8
        assert desk.waiting == 12


def test_pauses_differ_between_notifications_and_obey_the_deadline() -> None:
    """Full jitter over the whole pause for pages; a pause that ends after the deadline is none."""
    ids = [number.to_bytes(16, "big") for number in range(200)]
    pauses = [next_at(PAGE, each, 3, 0, None, 10**9) or 0 for each in ids]
    assert min(pauses) < 1_000
    assert max(pauses) > 7_000
    assert max(pauses) <= 8_000
    assert next_at(PAGE, ids[0], 1, 1_000, 50.0, 50_000) is None
    assert next_at(PAGE, ids[0], 1, 1_000, 50.0, 51_000) == 51_000
    assert next_at(THREE_RETRIES, ids[0], 4, 0, None, 10**9) is None
