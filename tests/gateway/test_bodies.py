"""Bodies: compressed ones are read within the limit, slow ones are cut off, deep ones are refused."""

import asyncio
import gzip
import hmac
import json
import time
import zlib
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from streams.gateway import body
from streams.gateway.answers import Refusal
from streams.gateway.body import MAX_MEMBERS, READ_S, decoded
from tests.gateway.conftest import (
    EVENTS_KEY,
    PROMETHEUS_KEY,
    SIGNATURE_SECRET,
    SIGNED_KEY,
    WEBHOOK_KEY,
    RunningGateway,
    accepted_since,
    ends,
)

TEXT = b'{"alert": {"title": "disk"}, "id": 7}'
LIMIT = 1000


def raw_deflate(data: bytes) -> bytes:
    """A deflate stream without the zlib format around it."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        (None, TEXT),
        ("identity", TEXT),
        ("", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("GZip ", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:9]) + gzip.compress(b"") + gzip.compress(TEXT[9:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
    ],
)
def test_an_encoding_is_undone(encoding: str | None, sent: bytes) -> None:
    """gzip in one or several members, deflate with and without its header, and none at all."""
    assert decoded(sent, encoding, LIMIT) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_the_limit_is_that_of_what_comes_out(encoding: str, size: int) -> None:
    """A body of exactly the limit is right, and one byte more is 413."""
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    assert decoded(compress(b"a" * size), encoding, LIMIT) == b"a" * size
    with pytest.raises(Refusal) as refused:
        decoded(compress(b"a" * (LIMIT + 1)), encoding, LIMIT)
    assert refused.value.answer.status == 413


def test_a_bomb_is_not_inflated() -> None:
    """F12: a hundred megabytes in a hundred kilobytes cost no more than the limit, in one member or in many."""
    bomb = gzip.compress(b"\0" * 100_000_000, 9)
    pieces = gzip.compress(b"a" * (LIMIT // 4)) * 8
    started = time.perf_counter()
    for sent in (bomb, pieces):
        with pytest.raises(Refusal) as refused:
            decoded(sent, "gzip", LIMIT)
        assert refused.value.answer.status == 413
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_cut_or_other_is_refused(encoding: str) -> None:
    """Every truncation, trailing bytes, too many members, and plain text are 400 and name the body."""
    whole = gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT)
    cut = [whole[:end] for end in range(len(whole))]
    for sent in [*cut, whole + b"rest", TEXT, gzip.compress(b"") * (MAX_MEMBERS + 1)]:
        with pytest.raises(Refusal) as refused:
            decoded(sent, encoding, LIMIT)
        assert (refused.value.answer.status, refused.value.answer.field) == (400, "body")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "gzip;q=1"])
def test_other_encodings_are_415(encoding: str) -> None:
    """The answer says which ones are read (RFC 9110, section 15.5.16)."""
    with pytest.raises(Refusal) as refused:
        decoded(b"", encoding, LIMIT)
    assert refused.value.answer.status == 415
    assert ("accept-encoding", "gzip, deflate") in refused.value.answer.headers


async def test_a_slow_body_does_not_end_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the request whose body is late ends, with 408; one that is cancelled by somebody else stays cancelled."""
    monkeypatch.setattr(body, "READ_S", 0.2)
    monkeypatch.setattr(body, "_SWEEP_S", 0.05)

    class Exchange:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        async def __call__(self) -> bytes:
            await asyncio.sleep(self.seconds)
            return b"whole"

    reader = body.Reader(LIMIT)
    reader.start()
    headers = {"content-length": "5"}
    try:
        slow, fast, other = (
            asyncio.create_task(reader.read(headers.get, Exchange(seconds)))  # type: ignore[arg-type]
            for seconds in (60, 0.01, 60)
        )
        assert await fast == b"whole"
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        with pytest.raises(Refusal) as refused:
            await slow
        assert refused.value.answer.status == 408
    finally:
        await reader.stop()


WEBHOOK = f"/api/integrations/webhook?integrationId={WEBHOOK_KEY}"


@pytest.mark.broker
async def test_a_compressed_body_is_stored_as_it_says(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """What is on Kafka is what a provider reads, whatever it was sent as; also where the key is in the body."""
    start = await ends(gateway.bootstrap)
    for encoding, sent in (("gzip", gzip.compress(TEXT)), ("deflate", zlib.compress(TEXT))):
        async with http.post(WEBHOOK, data=sent, headers={"Content-Encoding": encoding}) as answer:
            assert (answer.status, (await answer.json())["dedup_key"]) == (202, "7")
    event = json.dumps({"routing_key": EVENTS_KEY, "event_action": "resolve", "dedup_key": "k"}).encode()
    async with http.post("/v2/enqueue", data=gzip.compress(event), headers={"Content-Encoding": "gzip"}) as answer:
        assert answer.status == 202
    stored = [found.body for _, found in await accepted_since(gateway.bootstrap, start)]
    assert sorted(stored) == sorted([TEXT, TEXT, event])


@pytest.mark.broker
async def test_compressed_bodies_have_the_limits_of_plain_ones(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """F12: a bomb is 413, a broken body 400, an unknown encoding 415; authentication comes before any of it."""
    start = await ends(gateway.bootstrap)
    bomb = gzip.compress(b" " * 30_000_000)
    assert len(bomb) < 100_000
    unknown = WEBHOOK.replace(WEBHOOK_KEY, "0" * 32)
    for path, encoding, sent, status in (
        (WEBHOOK, "gzip", bomb, 413),
        ("/v2/enqueue", "gzip", bomb, 413),
        (WEBHOOK, "gzip", TEXT, 400),
        (WEBHOOK, "br", TEXT, 415),
        (unknown, "gzip", bomb, 401),
        (unknown, "br", TEXT, 401),
    ):
        async with http.post(path, data=sent, headers={"Content-Encoding": encoding}) as answer:
            assert answer.status == status, (path, encoding)
            assert (await answer.json())["error"]
    assert await ends(gateway.bootstrap) == start


@pytest.mark.broker
async def test_the_signature_is_of_the_bytes_on_the_wire(http: aiohttp.ClientSession) -> None:
    """A sender that compresses signs what it sends; a signature of the text inside is a wrong one."""
    path = f"/api/integrations/webhook?integrationId={SIGNED_KEY}"
    sent = gzip.compress(TEXT, mtime=0)
    for signed, status in ((sent, 202), (TEXT, 401)):
        signature = hmac.new(SIGNATURE_SECRET.encode(), signed, sha256).hexdigest()
        headers = {"Content-Encoding": "gzip", "X-Signature": signature}
        async with http.post(path, data=sent, headers=headers) as answer:
            assert answer.status == status


@pytest.mark.broker
async def test_memory_stays_bounded_under_large_bodies_and_bombs(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """F12: a hundred bombs, and a hundred bodies above the limit, at once: the process grows by a few megabytes."""

    def resident() -> int:
        lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024

    async def send(data: bytes, headers: dict[str, str]) -> int:
        async with http.post(WEBHOOK, data=data, headers=headers) as answer:
            return answer.status

    bomb = gzip.compress(b" " * 30_000_000)
    before = resident()
    for data, headers in ((bomb, {"Content-Encoding": "gzip"}), (b"x" * 1_000_000, {})):
        assert set(await asyncio.gather(*(send(data, headers) for _ in range(100)))) == {413}
    # 100 kB is this gateway's limit: a hundred requests at once may hold that much each, and what they came as.
    assert resident() - before < 100 * 2 * 100_000 + 10_000_000


@pytest.mark.broker
async def test_a_body_that_does_not_arrive_is_408_and_the_connection_ends(gateway: RunningGateway) -> None:
    """Slow senders, with a length and in chunks, dripping and silent, are cut off after ten seconds."""
    url = urlsplit(gateway.url)
    head = f"POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nAuthorization: Token token={PROMETHEUS_KEY}\r\n"

    async def drip(framing: str, drop: bytes) -> tuple[bytes, float]:
        """What the gateway answers until it ends the connection, and after how many seconds."""
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(f"{head}{framing}\r\n\r\n".encode())
        began = time.monotonic()

        async def feed() -> None:
            while drop:
                writer.write(drop)
                await asyncio.sleep(0.5)

        feeding = asyncio.create_task(feed())
        try:
            async with asyncio.timeout(READ_S + 10):
                answer = await reader.read()
        finally:
            feeding.cancel()
            writer.close()
        return answer, time.monotonic() - began

    found = await asyncio.gather(
        drip("Content-Length: 5000", b" "),
        drip("Content-Length: 5000", b""),
        drip("Transfer-Encoding: chunked", b"1\r\n \r\n"),
        drip("Transfer-Encoding: chunked", b""),
    )
    for answer, seconds in found:
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert READ_S <= seconds < READ_S + 3


@pytest.mark.broker
async def test_a_deep_body_is_refused_and_says_why(http: aiohttp.ClientSession) -> None:
    """A hundred levels are read; one more is 400, wherever it is, and never an error of ours."""
    for levels, status in ((99, 202), (100, 400), (3_000, 400), (40_000, 400)):
        deep = b'{"id": 1, "more": ' + b"[" * levels + b"]" * levels + b"}"
        async with http.post(WEBHOOK, data=deep) as answer:
            assert answer.status == status, levels
            told = await answer.json()
        if status == 400:
            assert told["field"] == "body"
            assert "nested deeper than 100 levels" in told["error"]
