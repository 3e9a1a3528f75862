"""The load client against a real server on loopback: every alert is accounted for exactly once."""

import asyncio
import time
from collections import Counter
from itertools import pairwise

import pytest

from streams.storm import http
from streams.storm.bodies import Request, post
from streams.storm.counts import Counts, Histogram
from streams.storm.http import HttpLoad
from tests.storm.conftest import Scripted, answer


def _requests(count: int, alerts: int = 1) -> list[Request]:
    return [Request(alerts, post("/x", "h", b"%d" % n)) for n in range(count)]


def _balanced(counts: Counts) -> bool:
    return counts.sent == counts.accepted + counts.refused + counts.unknown


async def test_every_request_arrives_once(scripted: Scripted) -> None:
    """All requests arrive once over the connections asked for, and each answer is counted."""
    counts = Counts()
    await HttpLoad("127.0.0.1", scripted.port, _requests(2_000, alerts=3), counts, connections=16).run()
    assert sorted(map(int, scripted.bodies)) == list(range(2_000))
    assert (counts.sent, counts.accepted, counts.requests) == (6_000, 6_000, 2_000)
    assert counts.statuses == {202: 2_000}
    assert scripted.connections <= 16 + 1
    assert 0 < counts.latency.quantile(0.5) <= counts.latency.quantile(0.99)


async def test_no_requests_end_at_once(scripted: Scripted) -> None:
    """An empty load ends."""
    counts = Counts()
    await asyncio.wait_for(HttpLoad("127.0.0.1", scripted.port, [], counts, connections=2).run(), 5)
    assert counts.sent == 0


async def test_refusals_are_counted_by_status(scripted: Scripted) -> None:
    """Without retry every answer that is not 2xx is a refusal, 503 too."""
    scripted.script = lambda body: answer((202, 400, 503)[int(body) % 3])
    counts = Counts()
    await HttpLoad("127.0.0.1", scripted.port, _requests(300), counts, connections=4).run()
    assert counts.statuses == {202: 100, 400: 100, 503: 100}
    assert (counts.accepted, counts.refused, counts.unknown) == (100, 200, 0)


async def test_503_is_retried_after_retry_after(scripted: Scripted) -> None:
    """With retry, a 503 waits out its Retry-After and then the same request is sent again."""
    tries: Counter[bytes] = Counter()
    times: list[float] = []

    def script(body: bytes) -> bytes:
        tries[body] += 1
        times.append(time.monotonic())
        return answer(202) if tries[body] > 1 or body != b"7" else answer(503, "Retry-After: 1")

    scripted.script = script
    counts = Counts()
    await HttpLoad("127.0.0.1", scripted.port, _requests(20), counts, connections=1, retry=True).run()
    assert tries[b"7"] == 2
    assert (counts.accepted, counts.refused, counts.retried) == (20, 0, 1)
    assert max(later - earlier for earlier, later in pairwise(times)) >= 0.99
    assert _balanced(counts)


@pytest.mark.parametrize("retry", [False, True])
async def test_a_broken_connection_is_unknown(scripted: Scripted, retry: bool) -> None:
    """A request whose connection breaks is unknown; with retry it goes out again as a new one."""
    tries: Counter[bytes] = Counter()

    def script(body: bytes) -> bytes | None:
        tries[body] += 1
        return None if int(body) % 10 == 0 and tries[body] == 1 else answer(202)

    scripted.script = script
    counts = Counts()
    await HttpLoad("127.0.0.1", scripted.port, _requests(100), counts, connections=4, retry=retry).run()
    assert counts.unknown == 10
    assert counts.accepted == (100 if retry else 90)
    assert len(scripted.bodies) == (110 if retry else 100)
    assert _balanced(counts)


async def test_connection_close_is_obeyed(scripted: Scripted) -> None:
    """After `Connection: close` the next request takes a new connection and nothing is unknown."""
    scripted.script = lambda body: answer(202, "Connection: close")
    counts = Counts()
    await HttpLoad("127.0.0.1", scripted.port, _requests(20), counts, connections=2).run()
    assert (counts.accepted, counts.unknown) == (20, 0)
    assert scripted.connections >= 20


async def test_answers_in_pieces_are_put_together() -> None:
    """An answer that comes byte by byte counts once, chunked ones too."""
    chunked = b"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (answer(202), chunked):
            if not await reader.read(1000):
                break
            for byte in reply:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        counts = Counts()
        port = server.sockets[0].getsockname()[1]
        await HttpLoad("127.0.0.1", port, _requests(2), counts, connections=1).run()
    assert counts.statuses == {202: 2}


async def test_what_is_not_http_is_unknown(scripted: Scripted) -> None:
    """An answer that is not HTTP breaks the connection and leaves its request unknown."""
    scripted.script = lambda body: b"SSH-2.0-OpenSSH\r\n\r\n" if body == b"3" else answer(202)
    counts = Counts()
    await HttpLoad("127.0.0.1", scripted.port, _requests(10), counts, connections=1).run()
    assert (counts.accepted, counts.unknown) == (9, 1)


async def test_rate_is_kept(scripted: Scripted) -> None:
    """A rate limits alerts a second, evenly: no tenth of the run holds twice its share."""
    times: list[float] = []

    def script(body: bytes) -> bytes:
        times.append(time.monotonic())
        return answer(202)

    scripted.script = script
    counts = Counts()
    await HttpLoad("127.0.0.1", scripted.port, _requests(800, 2), counts, connections=8, rate=800).run()
    span = times[-1] - times[0]
    assert span == pytest.approx(2.0, rel=0.1)
    tenths = Counter(min(9, int((at - times[0]) / span * 10)) for at in times)
    assert max(tenths.values()) <= 160


async def test_nobody_there_is_an_error() -> None:
    """Without a server the load raises at once instead of waiting."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await HttpLoad("127.0.0.1", port, _requests(1), Counts(), connections=1).run()


async def test_a_server_that_goes_away_ends_the_load(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server stops answering for good, the load says so and ends; what it sent stays balanced."""
    monkeypatch.setattr(http, "PATIENCE_S", 0.5)
    server: asyncio.Server
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read(1000)
        writer.write(answer(202))
        if sum(1 for _ in writers) >= 3:
            server.close()
            for each in writers:
                each.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    counts = Counts()
    load = HttpLoad("127.0.0.1", port, _requests(100), counts, connections=2, retry=True)
    await asyncio.wait_for(load.run(), 20)
    assert counts.stopped.startswith("no connection for")
    assert counts.sent < 100
    assert _balanced(counts)


async def test_a_server_that_hangs_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that gets no answer in time is unknown, and the load ends."""
    monkeypatch.setattr(http, "PATIENCE_S", 0.3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        counts = Counts()
        port = server.sockets[0].getsockname()[1]
        await asyncio.wait_for(HttpLoad("127.0.0.1", port, _requests(2), counts, connections=2).run(), 20)
    assert (counts.sent, counts.unknown) == (2, 2)


def test_quantiles_are_right_to_two_percent() -> None:
    """The histogram's quantiles are within a bucket of the exact ones, over five decades."""
    for scale in (1e-4, 1e-2, 1.0):
        histogram = Histogram()
        for n in range(1, 1001):
            histogram.add(n * scale)
        for share in (0.5, 0.9, 0.99):
            assert histogram.quantile(share) == pytest.approx(share * 1000 * scale * 1000, rel=0.02)
    assert Histogram().quantile(0.5) == 0.0
