"""Deliveries to real servers on loopback, with a clock that the test moves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

import aiohttp
import msgspec
import pytest
import structlog
from aiohttp import web
from prometheus_client import REGISTRY

from schemas.control import Destination, control_key, dump
from schemas.wire.notification import Delivery, Outcome
from sinks.channels import CHANNELS, Request
from sinks.deliver import Deliverer, backoff
from sinks.outbound import TIMEOUT, Outbound
from streams.control.state import Control
from tests.sinks.samples import (
    BASE_URL,
    LOOPBACK,
    ManualTime,
    Recorder,
    control,
    destination,
    notification,
    recording,
    until,
)

SHORT = aiohttp.ClientTimeout(total=0.3, connect=0.3)


@asynccontextmanager
async def delivering(
    state: Control, timeout: aiohttp.ClientTimeout = TIMEOUT
) -> AsyncIterator[tuple[Deliverer, ManualTime]]:
    """A deliverer on this configuration, and its clock."""
    time = ManualTime()
    outbound = Outbound(LOOPBACK, timeout)
    try:
        yield Deliverer(state.destination, outbound, BASE_URL, time.clock, time.sleep), time
    finally:
        await outbound.close()


@asynccontextmanager
async def delivering_to(
    *answers: web.Response, **fields: object
) -> AsyncIterator[tuple[Recorder, Deliverer, ManualTime]]:
    """A server with these answers, and a deliverer whose only destination it is."""
    async with (
        recording(*answers) as server,
        delivering(control(destination(server.url, **fields))) as (deliverer, time),
    ):
        yield server, deliverer, time


async def finish(task: "asyncio.Task[list[Delivery]]", time: ManualTime) -> list[Delivery]:
    """Move the clock by tenths of a second whenever somebody sleeps, until the delivery ends."""

    def step() -> bool:
        if time.sleeping and not task.done():
            time.advance(0.1)
        return task.done()

    await until(step)
    return task.result()


def start(deliverer: Deliverer, number: int = 0) -> "asyncio.Task[list[Delivery]]":
    """Begin to deliver the sample notification of this number."""
    return asyncio.create_task(deliverer.deliver(notification(number)))


def answers(*statuses: int, **headers: str) -> list[web.Response]:
    """One answer per status."""
    return [web.Response(status=status, headers=headers) for status in statuses]


def outcomes(deliveries: list[Delivery]) -> list[tuple[int, Outcome, int, str]]:
    """Attempt, outcome, status and error of each."""
    return [(row.attempt, row.outcome, row.http_status, row.error) for row in deliveries]


async def test_first_attempt_delivers() -> None:
    """A 2xx answer is one row that names channel, destination, transition and times."""
    async with delivering_to() as (_, deliverer, time):
        sent = notification()
        assert await deliverer.deliver(sent) == [
            Delivery(
                tenant="default",
                notification_id=sent.notification_id,
                incident_id=sent.incident.incident_id,
                channel="webhook",
                destination="ops",
                transition=sent.transition,
                attempt=1,
                queued_at=sent.queued_at,
                sent_at=time.now,
                finished_at=time.now,
                outcome=Outcome.DELIVERED,
                http_status=200,
            )
        ]


async def test_three_retries_with_doubling_waits() -> None:
    """503 three times, then 200: four requests under one id, 1, 2 and 4 s apart give or take 20 %."""
    async with delivering_to(*answers(503, 503, 503)) as (server, deliverer, time):
        rows = await finish(start(deliverer), time)
    retry = (Outcome.RETRY, 503, "unavailable")
    assert outcomes(rows) == [(1, *retry), (2, *retry), (3, *retry), (4, Outcome.DELIVERED, 200, "")]
    assert time.sleeps == [backoff(notification().notification_id, attempt) for attempt in (1, 2, 3)]
    for seconds, base in zip(time.sleeps, (1, 2, 4), strict=True):
        assert 0.8 * base <= seconds <= 1.2 * base
    gaps = [later.sent_at - row.sent_at for row, later in pairwise(rows)]
    assert all(gap >= 1000 * slept - 1 for gap, slept in zip(gaps, time.sleeps, strict=True))
    assert len({request.headers["webhook-id"] for request, _ in server.requests}) == 1
    assert len({body for _, body in server.requests}) == 1


@pytest.mark.parametrize("part", ["render", "classify"])
async def test_an_exception_in_a_channel_is_a_failed_delivery(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    """The attempt fails with the kind of the exception; its text goes nowhere, and the next delivery goes on."""

    def broken(*_: object) -> Request:
        raise LookupError("sword" + "fish")

    async with delivering_to() as (server, deliverer, time):
        with monkeypatch.context() as patch:
            patch.setitem(CHANNELS, "webhook", replace(CHANNELS["webhook"], **{part: broken}))
            (row,) = await deliverer.deliver(notification())
        assert (row.outcome, row.error) == (Outcome.FAILED, "channel_error: LookupError")
        assert row.sent_at == (0 if part == "render" else time.now)
        assert len(server.requests) == (0 if part == "render" else 1)
        assert (await deliverer.deliver(notification(1)))[-1].outcome == Outcome.DELIVERED
    shown = "".join(capsys.readouterr()) + caplog.text
    assert "LookupError" in shown
    assert "swordfish" not in shown


def test_waits_differ_between_notifications() -> None:
    """The jitter spreads a storm's retries over the whole allowed range, the same for the same id."""
    waits = [backoff(notification(number).notification_id, 1) for number in range(1000)]
    assert waits == [backoff(notification(number).notification_id, 1) for number in range(1000)]
    assert 0.8 <= min(waits) < 0.82
    assert 1.18 < max(waits) <= 1.2


async def test_last_failure_is_failed() -> None:
    """After three retries the fourth failure is the end, for the dead letter."""
    async with delivering_to(*answers(500, 502, 408, 504)) as (_, deliverer, time):
        rows = await finish(start(deliverer), time)
    assert [row.outcome for row in rows] == [Outcome.RETRY] * 3 + [Outcome.FAILED]
    assert [row.http_status for row in rows] == [500, 502, 408, 504]


@pytest.mark.parametrize(
    ("status", "error"), [(401, "unauthorized"), (302, "redirected"), (410, "gone"), (422, "rejected")]
)
async def test_refusal_is_not_retried(status: int, error: str) -> None:
    """What the endpoint refuses for good is tried once, and the error says why."""
    async with delivering_to(*answers(status)) as (_, deliverer, _):
        assert outcomes(await deliverer.deliver(notification())) == [(1, Outcome.FAILED, status, error)]


async def test_timeout_is_a_failed_attempt_and_others_are_not_delayed() -> None:
    """An endpoint that does not answer in time is tried again; another destination is served meanwhile."""
    async with recording() as slow, recording() as quick:
        slow.gate = asyncio.Event()
        state = control(destination(slow.url), destination(quick.url, id="quick"))
        async with delivering(state, SHORT) as (deliverer, time):
            waiting = start(deliverer)
            await until(lambda: slow.requests)
            other = notification(1)
            [row] = await deliverer.deliver(msgspec.structs.replace(other, destination="quick"))
            assert row.outcome is Outcome.DELIVERED
            assert not waiting.done()
            await until(lambda: time.sleeping)
            slow.gate.set()
            rows = await finish(waiting, time)
    assert outcomes(rows) == [(1, Outcome.RETRY, 0, "timeout"), (2, Outcome.DELIVERED, 200, "")]


@pytest.mark.parametrize(
    ("state", "channel", "error"),
    [
        (control(), "", "unknown_destination"),
        (control(destination("https://example.com", tenant="other")), "", "unknown_destination"),
        (control(destination("https://example.com", enabled=False)), "webhook", "disabled_destination"),
    ],
)
async def test_nobody_to_tell_is_suppressed(state: Control, channel: str, error: str) -> None:
    """An unknown or disabled destination, or another tenant's, is one suppressed row and no request."""
    async with delivering(state) as (deliverer, _):
        [row] = await deliverer.deliver(notification())
    assert (row.outcome, row.channel, row.error, row.sent_at) == (Outcome.SUPPRESSED, channel, error, 0)


@pytest.mark.parametrize(
    ("fields", "error"), [({"type": "pigeon"}, "unknown_channel"), ({"secret": "whsec_not*base64"}, "bad_secret")]
)
async def test_unusable_settings_fail_without_a_request(fields: dict[str, object], error: str) -> None:
    """A destination that cannot make a request fails at once, and says which setting."""
    async with delivering_to(**fields) as (server, deliverer, _):
        [row] = await deliverer.deliver(notification())
        assert (row.outcome, row.error, row.http_status) == (Outcome.FAILED, error, 0)
        assert server.requests == []


async def test_inward_target_fails_at_send_time() -> None:
    """A destination inside a network that is not allowed is never dialled, whatever the record says."""
    async with recording() as server:
        deliverer = Deliverer(
            control(destination(server.url)).destination, outbound := Outbound(()), BASE_URL, ManualTime().clock
        )
        assert outcomes(await deliverer.deliver(notification())) == [(1, Outcome.FAILED, 0, "blocked_target")]
        await outbound.close()
        assert server.requests == []


async def test_changes_count_for_the_next_attempt() -> None:
    """A URL that was changed between two attempts is the one that is used; a disabled one ends the retries."""
    async with recording(*answers(503)) as old, recording(*answers(503)) as new:
        state = control(destination(old.url))
        async with delivering(state) as (deliverer, time):
            task = start(deliverer)
            await until(lambda: time.sleeping)
            _change(state, destination(new.url))
            time.advance(1.3)
            await until(lambda: time.sleeping)
            _change(state, destination(new.url, enabled=False))
            rows = await finish(task, time)
        assert [row.outcome for row in rows] == [Outcome.RETRY, Outcome.RETRY, Outcome.SUPPRESSED]
        assert (len(old.requests), len(new.requests)) == (1, 1)


@pytest.mark.parametrize(("asked", "kept"), [("7", 7.0), ("86400", 60.0)])
async def test_retry_after_quiets_the_destination(asked: str, kept: float) -> None:
    """429 with Retry-After: for so long, at most 60 s, nothing goes to that destination, but to others."""
    async with recording(web.Response(status=429, headers={"Retry-After": asked})) as server, recording() as other:
        state = control(destination(server.url), destination(other.url, id="other"))
        async with delivering(state) as (deliverer, time):
            first = start(deliverer)
            await until(lambda: time.sleeping)
            second = start(deliverer, 1)
            await until(lambda: time.sleeping == 2)
            time.advance(kept - 0.1)
            await until(lambda: time.sleeping == 2)
            assert len(server.requests) == 1
            aside = notification(2)
            [row] = await deliverer.deliver(msgspec.structs.replace(aside, destination="other"))
            assert row.outcome is Outcome.DELIVERED
            time.advance(0.1)
            assert outcomes(await first) == [(1, Outcome.RETRY, 429, "rate_limited"), (2, Outcome.DELIVERED, 200, "")]
            assert outcomes(await second) == [(1, Outcome.DELIVERED, 200, "")]


async def test_eight_requests_at_a_time() -> None:
    """Of 30 notifications to one destination eight are on their way at once, and all arrive."""
    async with delivering_to() as (server, deliverer, _):
        server.gate = asyncio.Event()
        tasks = [start(deliverer, number) for number in range(30)]
        await until(lambda: server.busy == 8)
        server.gate.set()
        rows = [row for task in tasks for row in await task]
        assert [row.outcome for row in rows] == [Outcome.DELIVERED] * 30
        assert server.most_busy == 8


async def _break(deliverer: Deliverer, time: ManualTime) -> None:
    for number in range(100, 105):
        assert (await finish(start(deliverer, number), time))[-1].outcome is Outcome.FAILED


async def test_half_open_lets_exactly_one_of_twenty_through() -> None:
    """After five failed deliveries nothing is sent for 30 s; then one probe goes, and its success frees all."""
    async with delivering_to(*answers(*[503] * 20)) as (server, deliverer, time):
        await _break(deliverer, time)
        assert len(server.requests) == 20
        server.gate = asyncio.Event()
        tasks = [start(deliverer, number) for number in range(20)]
        await until(lambda: time.sleeping == 20)
        time.advance(29.9)
        await until(lambda: time.sleeping == 20)
        assert len(server.requests) == 20
        time.advance(0.1)
        await until(lambda: server.busy == 1)
        await _settle()
        assert len(server.requests) == 21
        server.gate.set()
        assert [[row.outcome for row in await task] for task in tasks] == [[Outcome.DELIVERED]] * 20
        assert server.most_busy <= 8


async def test_failed_probe_opens_again() -> None:
    """While the destination stays broken it gets one request in 30 s, however many wait."""
    async with delivering_to(*answers(*[503] * 22)) as (server, deliverer, time):
        await _break(deliverer, time)
        tasks = [start(deliverer, number) for number in range(20)]
        for requests in (20, 21, 22):
            await until(lambda: time.sleeping == 20)
            assert len(server.requests) == requests
            time.advance(30)
        assert all([(await task)[-1].outcome is Outcome.DELIVERED for task in tasks])


async def test_waiting_for_a_broken_destination_is_bounded() -> None:
    """After 120 s of an open breaker a delivery fails as circuit_open, without having been sent."""
    async with delivering_to(*answers(*[503] * 30)) as (server, deliverer, time):
        await _break(deliverer, time)
        tasks = [start(deliverer, number) for number in range(3)]
        for _ in range(5):
            await until(lambda: time.sleeping == sum(not task.done() for task in tasks))
            time.advance(30)
        last = [(await finish(task, time))[-1] for task in tasks]
        # one of them may have used up its attempts as the probe
        assert [row.error for row in last].count("circuit_open") >= 2
        assert all(row.outcome is Outcome.FAILED for row in last)
        assert all(row.sent_at == 0 for row in last if row.error == "circuit_open")
        assert len(server.requests) <= 25


async def test_refusals_do_not_open_the_breaker() -> None:
    """An endpoint that answers 400 lives: the next notification is sent at once."""
    async with delivering_to(*answers(*[400] * 8)) as (_, deliverer, time):
        for number in range(8):
            await deliverer.deliver(notification(number))
        [row] = await deliverer.deliver(notification(9))
        assert row.outcome is Outcome.DELIVERED
        assert time.sleeps == []


async def test_cancelled_deliveries_leave_nothing_held() -> None:
    """Cancelling deliveries in flight, waiting for a slot and asleep frees the way for the next."""
    async with delivering_to() as (server, deliverer, _):
        server.gate = asyncio.Event()
        tasks = [start(deliverer, number) for number in range(20)]
        await until(lambda: server.busy == 8)
        for task in tasks:
            task.cancel()
        assert {type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        await until(lambda: server.busy == 0)
        again = [start(deliverer, number) for number in range(20)]
        await until(lambda: server.busy == 8)
        server.gate.set()
        assert [(await task)[0].outcome for task in again] == [Outcome.DELIVERED] * 20


async def test_cancelled_probe_hands_over() -> None:
    """When the probe is cancelled, another delivery that waits becomes the probe."""
    async with delivering_to(*answers(*[503] * 20)) as (server, deliverer, time):
        await _break(deliverer, time)
        server.gate = asyncio.Event()
        tasks = [start(deliverer, number) for number in range(3)]
        await until(lambda: time.sleeping == 3)
        time.advance(30)
        await until(lambda: len(server.requests) == 21)
        await _settle()
        probing = server.requests[-1][0].headers["webhook-id"]
        [probe] = [task for number, task in enumerate(tasks) if _uuid(number) == probing]
        probe.cancel()
        await until(lambda: len(server.requests) == 22)
        await _settle()
        assert len(server.requests) == 22
        server.gate.set()
        for task in set(tasks) - {probe}:
            assert (await task)[0].outcome is Outcome.DELIVERED


async def test_no_secret_is_logged_or_returned(caplog: pytest.LogCaptureFixture) -> None:
    """Of a failure the log has ids, reason and status; no URL, header, signature or answer's body."""
    caplog.set_level(logging.DEBUG)
    secrets = ("geheim-query", "geheim-secret", "geheim-header", "geheim-password", "geheim-answer")
    async with recording(web.Response(status=403, text="geheim-answer")) as server:
        target = destination(
            server.url.replace("http://", "http://user:geheim-password@") + "/in?token=geheim-query",
            secret="geheim-secret",
            headers={"X-Key": "geheim-header"},
        )
        with structlog.testing.capture_logs() as lines:
            async with delivering(control(target)) as (deliverer, _):
                rows = await deliverer.deliver(notification())
    assert lines == [
        {
            "event": "notification failed",
            "log_level": "warning",
            "notification": notification().notification_id.hex(),
            "destination": "ops",
            "attempts": 1,
            "reason": "unauthorized",
            "http_status": 403,
        }
    ]
    seen = repr(rows) + caplog.text + repr(lines)
    assert not [secret for secret in secrets if secret in seen]


async def test_metrics_count_attempts_by_outcome() -> None:
    """Each attempt counts once under its channel and outcome, and its duration is observed."""
    counted = {outcome: _counted(outcome) for outcome in Outcome}
    timed = _sample("stormweir_notification_attempt_duration_seconds_count", channel="webhook")
    async with delivering_to(*answers(503, 200, 400)) as (_, deliverer, time):
        await finish(start(deliverer, 0), time)
        await finish(start(deliverer, 1), time)
    gained = {outcome: _counted(outcome) - before for outcome, before in counted.items()}
    assert gained == {Outcome.RETRY: 1, Outcome.DELIVERED: 1, Outcome.FAILED: 1, Outcome.SUPPRESSED: 0}
    assert _sample("stormweir_notification_attempt_duration_seconds_count", channel="webhook") == timed + 3


async def _settle() -> None:
    """Give what could wrongly go on the time to reach the server: a tenth of a second of real time."""
    await asyncio.sleep(0.1)


def _uuid(number: int) -> str:
    return str(UUID(bytes=notification(number).notification_id))


def _counted(outcome: Outcome) -> float:
    return _sample("stormweir_notifications_total", channel="webhook", outcome=outcome)


def _sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _change(state: Control, record: Destination) -> None:
    assert state.apply(control_key(record), dump(record)) is None
