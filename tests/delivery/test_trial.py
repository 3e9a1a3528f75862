"""Test sends to real servers on loopback: each way to fail has a reason of its own."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from schemas.control import Destination
from sinks.channels import CHANNELS
from sinks.contract import RenderError
from sinks.mail import Mailer
from sinks.outbound import Outbound
from sinks.outbox.attempt import Sending
from sinks.outbox.limits import Limits
from sinks.outbox.settle import Attempt
from sinks.outbox.trial import try_out
from sinks.reasons import explain
from tests.conftest import FreePorts
from tests.sinks.samples import BASE_URL, LOOPBACK, QUEUED_AT, destination, recording


class Clock:
    """Each reading is 7 ms after the one before."""

    def __init__(self) -> None:
        self.now = QUEUED_AT

    def __call__(self) -> int:
        self.now += 7
        return self.now


async def tried(to: Destination, networks: Any = LOOPBACK, timeout_s: float = 10) -> Attempt:
    """A test send to this destination."""
    outbound = Outbound(networks, aiohttp.ClientTimeout(total=timeout_s))
    mailer = Mailer(outbound, networks)
    try:
        return await try_out(Sending(outbound, mailer, Limits(), Clock()), to, BASE_URL, QUEUED_AT)
    finally:
        await mailer.close()
        await outbound.close()


async def test_a_test_is_one_marked_message() -> None:
    """A7, A22: the receiver gets the channel's usual message about a made-up incident, marked; again, another one."""
    async with recording() as server:
        to = destination(server.url, enabled=False, secret="whsec_abcdefgh")
        first = await tried(to)
        assert (first.reason, first.http_status, first.finished_at - first.sent_at) == ("", 200, 7)
        assert (await tried(to)).reason == ""
        bodies = [json.loads(body) for _, body in server.requests]
        assert [body["test"] for body in bodies] == [True, True]
        assert bodies[0]["event"] == "incident.triggered"
        assert bodies[0]["incident"]["severity"] == "info"
        assert bodies[0]["incident"]["id"] != bodies[1]["incident"]["id"]
        assert all("webhook-signature" in request.headers for request, _ in server.requests)


@pytest.mark.parametrize("template", ["stormweir-v1", "cortif-v1", "opsknight-v1"])
async def test_every_template_is_marked(template: str) -> None:
    """A22: also the bodies of other products say that they are a test."""
    async with recording() as server:
        await tried(destination(server.url, template=template))
        (body,) = [json.loads(body) for _, body in server.requests]
        assert body["test"] is True


async def test_ways_to_fail_are_told_apart(free_ports: FreePorts) -> None:
    """A23: nothing listens, wrong credentials, no POST, and the rest; each says what it means and what to do."""
    (port,) = free_ports(1)
    found = {"refused": await tried(destination(f"http://127.0.0.1:{port}/"))}
    for status in (401, 405, 404, 410, 422, 429, 503, 301):
        async with recording(web.Response(status=status)) as server:
            attempt = await tried(destination(server.url))
            assert attempt.http_status == status
            found[str(status)] = attempt
    assert {name: each.reason for name, each in found.items()} == {
        "refused": "refused",
        "401": "unauthorized",
        "405": "post_not_accepted",
        "404": "not_found",
        "410": "gone",
        "422": "rejected",
        "429": "rate_limited",
        "503": "unavailable",
        "301": "redirected",
    }
    told = [explain("webhook", each.reason) for each in found.values()]
    assert len({help_.means for help_ in told}) == len(found)
    assert all(help_.do for help_ in told)


async def test_a_slow_receiver_is_given_up_in_time() -> None:
    """A server that does not answer is a time-out, after one request."""
    async with recording() as server:
        server.gate = asyncio.Event()
        attempt = await tried(destination(server.url), timeout_s=0.3)
        assert (attempt.reason, attempt.http_status, len(server.requests)) == ("timeout", 0, 1)


async def test_a_private_address_is_told_to_be_one() -> None:
    """Without its network in the settings nothing is dialled."""
    async with recording() as server:
        assert (await tried(destination(server.url), networks=())).reason == "blocked_target"
        assert server.requests == []


async def test_settings_that_allow_no_message_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that cannot render is told by its own words, and a defect of a channel by its type only."""

    def failing(error: Exception) -> Any:
        def render(*_: object) -> Any:
            raise error

        return replace(CHANNELS["webhook"], render=render)

    for error, reason in (
        (RenderError("the template has no title"), "the template has no title"),
        (KeyError("whsec_secret"), "channel_error: KeyError"),
    ):
        monkeypatch.setitem(CHANNELS, "webhook", failing(error))
        attempt = await tried(destination("https://hooks.example.com/"))
        assert (attempt.reason, attempt.sent_at) == (reason, 0)
