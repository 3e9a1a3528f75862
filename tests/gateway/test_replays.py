"""A request with a signed time is taken once; without one it may come as often as its sender likes."""

import asyncio
import base64
import hmac
import time
from hashlib import sha256

import aiohttp
import pytest

from streams.gateway import replays
from streams.gateway.lanes import UnavailableError
from streams.gateway.replays import MEMORY_S, Replays
from tests.gateway.conftest import SIGNATURE_SECRET, SIGNED_KEY, RunningGateway, ends

NOW = 50_000.0
WEBHOOK = f"/api/integrations/webhook?integrationId={SIGNED_KEY}"
BODY = b'{"summary": "signed once"}'


def stored(error: Exception | None = None) -> "asyncio.Future[None]":
    """What became of a request."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


async def test_an_accepted_request_is_remembered_for_ten_minutes() -> None:
    """A time may be 300 s ahead, and is good for 300 s after: that long its mark is known, and not for ever."""
    memory = Replays()
    memory.remember(b"a", stored(), NOW)
    for passed in (1.0, MEMORY_S - 1, MEMORY_S + 1):
        memory.remember(b"at %f" % passed, stored(), NOW + passed)
        assert b"a" in memory
    memory.remember(b"b", stored(), NOW + 4 * MEMORY_S)
    assert b"a" not in memory
    assert len(memory) == 1


async def test_what_could_not_be_stored_is_forgotten() -> None:
    """C48: the sender of a 503 repeats the very same request, and that is no replay."""
    memory = Replays()
    memory.remember(b"a", stored(UnavailableError()), NOW)
    assert b"a" in memory  # nobody sends it a second time before the first is answered
    await asyncio.sleep(0)
    assert b"a" not in memory


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of signed requests shortens the memory instead of filling the process."""
    monkeypatch.setattr(replays, "GENERATION", 100)
    memory = Replays()
    for number in range(1000):
        memory.remember(b"%d" % number, stored(), NOW)
        assert len(memory) <= 200
    assert b"950" in memory


def signature(stamp: str, secret: str = SIGNATURE_SECRET) -> str:
    """The hexadecimal HMAC of time and body."""
    return hmac.new(secret.encode(), f"{stamp}.".encode() + BODY, sha256).hexdigest()


async def post(http: aiohttp.ClientSession, headers: dict[str, str], body: bytes = BODY) -> tuple[int, str | None]:
    """Status and reason."""
    async with http.post(WEBHOOK, data=body, headers=headers) as answer:
        return answer.status, (await answer.json()).get("reason")


@pytest.mark.broker
async def test_a_signed_time_stops_replays(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """C48, decision 6: the second copy is 401 `replayed`, also when its signature is written in another way."""
    start = await ends(gateway.bootstrap)
    stamp = str(int(time.time()))
    text = signature(stamp)
    assert await post(http, {"X-Timestamp": stamp, "X-Signature": f"sha256={text}"}) == (202, None)
    for copy in (
        {"X-Signature": f"sha256={text}"},
        {"X-Signature": text.upper()},
        {"X-Webhook-Signature": text},
        {"X-Signature": text, "X-Webhook-Signature": "0" * 64},
    ):
        assert await post(http, {"X-Timestamp": stamp, **copy}) == (401, "replayed")
    assert await post(http, {"X-Timestamp": stamp, "X-Signature": text, "webhook-signature": "v1,"}) == (
        401,
        "missing_header",
    )
    assert sum((await ends(gateway.bootstrap)).values()) - sum(start.values()) == 1


@pytest.mark.broker
@pytest.mark.parametrize("offset", [-301, 302])
async def test_an_old_signature_is_stale(http: aiohttp.ClientSession, offset: int) -> None:
    """C48, C122: after 300 s, or for a time as far ahead, the request is 401 `stale_timestamp`."""
    stamp = str(int(time.time()) + offset)
    assert await post(http, {"X-Timestamp": stamp, "X-Signature": signature(stamp)}) == (401, "stale_timestamp")


@pytest.mark.broker
async def test_the_time_is_signed(http: aiohttp.ClientSession) -> None:
    """C47: another time, or none, makes the signature a wrong one."""
    stamp = str(int(time.time()))
    assert await post(http, {"X-Timestamp": str(int(stamp) + 1), "X-Signature": signature(stamp)}) == (
        401,
        "bad_signature",
    )
    assert await post(http, {"X-Signature": signature(stamp)}) == (401, "bad_signature")


@pytest.mark.broker
async def test_standard_webhooks_are_taken_once(http: aiohttp.ClientSession) -> None:
    """Our own notifications, or any sender's with Standard Webhooks: the message's second copy is a replay."""
    stamp = str(int(time.time()))
    mac = hmac.new(SIGNATURE_SECRET.encode(), f"msg_1.{stamp}.".encode() + BODY, sha256).digest()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }
    assert await post(http, headers) == (202, None)
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']}"
    assert await post(http, headers) == (401, "replayed")
    assert await post(http, {**headers, "webhook-id": "msg_2"}) == (401, "bad_signature")


@pytest.mark.broker
async def test_without_a_signed_time_a_request_may_come_again(http: aiohttp.ClientSession) -> None:
    """A signature of the body alone says nothing of when: a repeat is a repeat of the alert, for dedup to see."""
    headers = {"X-Signature": hmac.new(SIGNATURE_SECRET.encode(), BODY, sha256).hexdigest()}
    assert [await post(http, headers) for _ in range(2)] == [(202, None)] * 2


@pytest.mark.broker
async def test_a_hundred_copies_have_one_effect(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """F18: a captured request, sent a hundred times at once, is accepted once."""
    start = await ends(gateway.bootstrap)
    stamp = str(int(time.time()) - 7)
    headers = {"X-Timestamp": stamp, "X-Signature": signature(stamp)}
    found = await asyncio.gather(*(post(http, headers) for _ in range(100)))
    assert sorted(found, key=str) == [(202, None)] + [(401, "replayed")] * 99
    assert sum((await ends(gateway.bootstrap)).values()) - sum(start.values()) == 1
