"""Bodies that were refused are kept without credentials, shown, and taken after a fix."""

import asyncio
import json
import os
import time
from typing import Any

import aiohttp
import pytest

from schemas.control import FieldMapping, Integration
from schemas.fingerprint import uuid_text
from schemas.settings import Settings
from schemas.wire.rejection import MAX_KEPT, RejectedBody
from streams.control.follow import publish
from streams.gateway.kept import KEPT_A_MINUTE, Mask
from streams.gateway.kept_replay import kept
from streams.process.kafka import Kafka
from tests.forks import stormweir
from tests.gateway.conftest import RunningGateway, accepted_since, ends
from tests.gateway.senders import key

OWN_KEY = "5f0c2a9d7e4b41c8a3d6f1b20e987c65"
KEY = "19" * 16


def mask(text: bytes, *keys: str) -> bytes:
    """The text without credentials."""
    return Mask({OWN_KEY, *keys}).body(text)


def test_credentials_are_cut_out() -> None:
    """Keys of integrations wherever they stand, and values whose name says what they are; other ids stay."""
    other = "0123456789abcdef0123456789abcdef"
    body = (
        b'{"routing_key":"%b","payload":{"api_key": "a\\"b","AuthToken":"x","monkey":"fine","id":"%b",'
        b'"url":"https://h/x?integrationId=%b&a=1&token=zz","text":"key %b."}}'
    ) % (other.encode(), other.encode(), OWN_KEY.encode(), OWN_KEY.encode())
    assert (
        mask(body)
        == (
            b'{"routing_key":"***","payload":{"api_key": "***","AuthToken":"***","monkey":"fine","id":"%b",'
            b'"url":"https://h/x?integrationId=***&a=1&token=***","text":"key ***."}}'
        )
        % other.encode()
    )
    assert mask(b"Token=8a6b&Status=Down&password=p%26w") == b"Token=***&Status=Down&password=***"
    headers = {"x-gitlab-token": "s", "authorization": "x", "cookie": "c", "x-event": f"at {OWN_KEY}"}
    assert Mask({OWN_KEY}).headers(headers) == {"x-event": "at ***"}


def test_a_key_that_the_end_cuts_is_masked_too() -> None:
    """Of a long body no piece of a key is left at its end."""
    for place in range(MAX_KEPT - 40, MAX_KEPT + 1):
        found = mask(b"." * place + OWN_KEY.encode() + b"." * 100)
        assert len(found) <= MAX_KEPT
        assert OWN_KEY[:1].encode() not in found


def run(gateway: RunningGateway, *arguments: str, status: int = 0) -> str:
    """What `stormweir rejections` prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
    environ = {**environ, **Settings(kafka=gateway.bootstrap).environ(), "COLUMNS": "200"}
    done = stormweir("rejections", *arguments, environ=environ)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status == 2 else done.stdout


async def refused(gateway: RunningGateway, path: str, body: bytes, status: int = 400, **headers: str) -> None:
    """The request is refused."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession(gateway.url) as http, http.post(path, data=body, headers=sent) as answer:
        assert answer.status == status, await answer.text()


async def bodies(gateway: RunningGateway, integration: str, count: int) -> list[RejectedBody]:
    """What is kept of an integration, once there are so many."""
    deadline = time.monotonic() + 20
    while True:
        found = [body for body in await kept(Kafka(gateway.bootstrap)) if body.integration == f"{integration[:6]}..."]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found


async def integrate(gateway: RunningGateway, **fields: Any) -> None:
    """The integration KEY as the gateway knows it by now."""
    made = Integration(**{"id": KEY, "name": "kept", "service": "kept", "rate_limit": "unlimited", **fields})
    await publish(Kafka(gateway.bootstrap), [made])
    deadline = time.monotonic() + 20
    path = f"/api/integrations/{made.type}?integrationId={made.id}"
    async with aiohttp.ClientSession(gateway.url) as http:
        while True:
            async with http.post(path, data=b"", headers={"Content-Encoding": "br"}) as answer:
                if answer.status == 415 or (await answer.json()).get("reason") == "missing_header":
                    return
            assert time.monotonic() < deadline


@pytest.mark.broker
async def test_a_refused_body_is_kept_shown_and_taken_after_a_fix(senders: RunningGateway) -> None:
    """Refused for what is wrong with it, listed, shown without the key, and accepted once it can be read."""
    prometheus = key("prometheus")
    path = f"/api/integrations/prometheus?integrationId={prometheus}"
    # What was refused for a reason that a later version mends: here a broken body, and a right one kept as it came.
    await refused(senders, path, b'{"alerts":[{"status":"odd"}],"routing_key":"%b"}' % prometheus.encode())
    (body,) = await bodies(senders, prometheus, 1)
    assert (body.field, body.size > len(body.body), body.provider) == ("alerts.0.status", True, "prometheus")
    assert prometheus.encode() not in body.body

    name = uuid_text(body.event_id)
    listed = json.loads(await asyncio.to_thread(run, senders, "list", "--json", "--integration", prometheus))
    assert [(row["id"], row["integration"]) for row in listed] == [(name, f"{prometheus[:6]}...")]
    assert name in await asyncio.to_thread(run, senders, "list")
    shown = await asyncio.to_thread(run, senders, "show", name)
    assert '"status":"odd"' in shown
    assert prometheus not in shown

    outcome = json.loads(await asyncio.to_thread(run, senders, "replay", name, "--json", status=1))
    assert [(row["id"], row["result"]) for row in outcome] == [(name, "refused")]
    assert "alerts.0.status" in outcome[0]["reason"]
    assert "no body with the id" in await asyncio.to_thread(run, senders, "show", "x", status=2)
    await asyncio.to_thread(run, senders, "replay", status=2)


@pytest.mark.broker
async def test_a_new_mapping_takes_what_the_old_one_refused(senders: RunningGateway) -> None:
    """The replay reads by the mapping of now, keeps the request's id, and is stored for the same sender."""
    await integrate(senders, type="webhook", mapping=FieldMapping(summary="title", dedup_key="key"))
    path = f"/api/integrations/webhook?integrationId={KEY}"
    async with (
        aiohttp.ClientSession(senders.url) as http,
        http.get(f"{path}&name=Till&place=x&Token=8a6b") as answer,
    ):
        assert answer.status == 400
    (body,) = await bodies(senders, KEY, 1)
    assert (body.method, body.query) == ("GET", "name=Till&place=x&Token=***")

    await publish(
        Kafka(senders.bootstrap),
        [Integration(id=KEY, name="kept", type="webhook", service="kept", mapping=FieldMapping(summary="name"))],
    )
    start = await ends(senders.bootstrap)
    outcome = json.loads(await asyncio.to_thread(run, senders, "replay", uuid_text(body.event_id), "--json"))
    assert [row["result"] for row in outcome] == ["accepted"]
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert (event.event_id, event.integration, event.provider) == (body.event_id, KEY, "webhook")
    assert json.loads(event.mapping) == {"summary": "name"}
    assert event.received_at > int.from_bytes(body.event_id[:6], "big")


@pytest.mark.broker
async def test_what_nobody_proved_is_not_kept_and_a_sender_has_a_share(senders: RunningGateway) -> None:
    """Without a key, with a wrong one or unsigned nothing is kept; of one sender KEPT_A_MINUTE bodies are."""
    secret = "a secret for signing"
    await integrate(senders, id="28" * 16, type="sentry", signature_secret=secret)
    signed = f"/api/integrations/sentry?integrationId={'28' * 16}"
    await refused(senders, "/api/integrations/sentry", b"{", 401)
    await refused(senders, signed, b"{", 401)
    pingdom = f"/api/integrations/pingdom?integrationId={key('pingdom')}"
    for number in range(KEPT_A_MINUTE + 5):
        await refused(senders, pingdom, b'{"number": %d}' % number)
    found = await bodies(senders, key("pingdom"), KEPT_A_MINUTE)
    assert sorted(json.loads(body.body)["number"] for body in found) == list(range(KEPT_A_MINUTE))
    assert not [body for body in await kept(Kafka(senders.bootstrap)) if body.integration == "282828..."]


@pytest.mark.broker
async def test_a_long_body_is_kept_in_part_and_not_replayed(senders: RunningGateway) -> None:
    """The first MAX_KEPT bytes are there to be looked at; half a request is not taken."""
    path = f"/api/integrations/betterstack?integrationId={key('betterstack')}"
    await refused(senders, path, b'{"x":"%b"}' % (b"y" * 80_000))
    (body,) = await bodies(senders, key("betterstack"), 1)
    assert (body.size, len(body.body)) == (80_008, MAX_KEPT)
    outcome = await asyncio.to_thread(run, senders, "replay", "--integration", key("betterstack"), status=1)
    assert f"only {MAX_KEPT} of its 80008 bytes were kept" in outcome
