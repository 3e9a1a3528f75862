"""The outgoing client against real servers on loopback."""

import asyncio
import gzip
import os
import socket
import ssl
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sinks.outbound import MAX_ANSWER, TIMEOUT, Answer, ErrorCode, Outbound, permitted, retry_after
from tests.sinks.samples import LOOPBACK, recording, until

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SHORT = aiohttp.ClientTimeout(total=0.4, connect=0.3)


@asynccontextmanager
async def outbound(*networks: str, timeout: aiohttp.ClientTimeout = TIMEOUT) -> AsyncIterator[Outbound]:
    """A client that is closed in the end; loopback is allowed unless other networks are given."""
    client = Outbound(tuple(map(ip_network, networks)) if networks else LOOPBACK, timeout)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def raw_server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[int]]]:
    """A bare TCP server: its port, and a list with one entry per connection."""
    connections: list[int] = []
    handlers: set[asyncio.Task[None] | None] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        handlers.add(asyncio.current_task())
        # a client that gives up is what some tests are about
        with suppress(OSError, EOFError):
            await handler(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1], connections
        await asyncio.gather(*filter(None, handlers))


def answering(content: bytes) -> Handler:
    """Read a request's head, write these bytes, close."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        await writer.drain()

    return handle


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read until the client gives up."""
    await reader.read()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with key and self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    """The server's side of that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_posts_the_bytes_and_headers_as_given() -> None:
    """Method, path, query, headers and body arrive unchanged, and the connection is used again."""
    async with recording() as server, outbound() as client:
        for _ in range(2):
            answer = await client.post(f"{server.url}/in?x=a%2Fb&y=1", b'{"a": 1}', {"X-A": "1", "Content-Type": "t/p"})
            assert answer == Answer(200)
        (request, body), (again, _) = server.requests
        assert (request.method, request.raw_path) == ("POST", "/in?x=a%2Fb&y=1")
        assert (body, request.headers["X-A"], request.headers["Content-Type"]) == (b'{"a": 1}', "1", "t/p")
        assert request.protocol is again.protocol


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/",
        "https://0.0.0.0:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://[::ffff:7f00:1]:{port}/",
        "https://[64:ff9b::7f00:1]:{port}/",
        "https://[::1]:{port}/",
        "https://localhost:{port}/",
        "http://localhost:{port}/",
        "https://user:pass@127.0.0.1:{port}/",
        "https://169.254.169.254:{port}/",
        "https://10.0.0.1:{port}/",
        "https://100.64.0.1:{port}/",
        "https://[fd00::1]:{port}/",
        "https://[fe80::1]:{port}/",
        "https://224.0.0.1:{port}/",
    ],
)
async def test_inward_targets_are_blocked_before_a_connection(url: str) -> None:
    """Without an allowed network no spelling of an inward address is dialled."""
    async with raw_server(silence) as (port, connections), outbound("192.0.2.0/24") as client:
        blocked = Answer(0, error_code=ErrorCode.BLOCKED_TARGET)
        assert await client.post(url.format(port=port), b"", {}) == blocked
        assert await client.get(url.format(port=port)) == blocked
        assert connections == []


@pytest.mark.parametrize("host", ["127.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "localhost."])
async def test_odd_spellings_of_loopback_reach_nobody(host: str) -> None:
    """However the libraries read such a host, or refuse to, nothing on loopback is dialled."""
    async with raw_server(silence) as (port, connections), outbound("192.0.2.0/24") as client:
        answer = await client.post(f"https://{host}:{port}/", b"", {})
        assert answer.error_code in {ErrorCode.BLOCKED_TARGET, ErrorCode.INVALID_REQUEST, ErrorCode.DNS}
        assert connections == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_name_that_resolves_inward_later_is_blocked(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name whose first answer looks public (rebinding) is judged by the address that is dialled."""
    async with raw_server(silence) as (port, connections), outbound("192.0.2.0/24") as client:

        async def inward(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", inward)
        answer = await client.post(f"{scheme}://rebind.example.com:{port}/", b"", {})
        assert answer.error_code is ErrorCode.BLOCKED_TARGET
        assert connections == []


async def test_plain_http_to_the_internet_is_blocked() -> None:
    """Plain http is for allowed networks alone, even where https would be let through."""
    async with outbound("192.0.2.0/24") as client:
        answer = await client.post("http://8.8.8.8:9/", b"", {})
    assert answer == Answer(0, error_code=ErrorCode.BLOCKED_TARGET)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """A redirect is the answer; where it points gets nothing."""
    async with recording() as inner, outbound() as client:
        async with recording(web.Response(status=status, headers={"Location": inner.url})) as outer:
            assert (await client.post(outer.url, b"", {})).status == status
        async with recording(web.Response(status=status, headers={"Location": inner.url})) as outer:
            assert (await client.get(outer.url)).status == status
        assert inner.requests == []


async def test_what_is_fetched_is_the_body_as_far_as_it_may_go() -> None:
    """The query arrives as written; of a longer body there are 64 KiB, of one cut short what came."""
    async with recording(web.Response(body=b"x" * (MAX_ANSWER + 1))) as server, outbound() as client:
        answer = await client.get(f"{server.url}/?Action=Confirm&TopicArn=arn:aws:sns:x%2Fy")
        assert answer == Answer(200, body=b"x" * MAX_ANSWER)
        ((request, sent),) = server.requests
        assert (request.method, request.raw_path, sent) == ("GET", "/?Action=Confirm&TopicArn=arn:aws:sns:x%2Fy", b"")
    cut = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    async with raw_server(cut) as (port, _), outbound() as client:
        assert await client.get(f"http://127.0.0.1:{port}/") == Answer(200, body=b"abc")


async def test_refused_connection_is_named(free_port: int) -> None:
    """Nothing listens: refused."""
    async with outbound() as client:
        assert await client.post(f"http://127.0.0.1:{free_port}/", b"", {}) == Answer(0, None, ErrorCode.REFUSED)


async def test_unknown_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name does not resolve: dns."""

    async def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async with outbound() as client:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        answer = await client.post("https://nowhere.example.com/", b"", {})
    assert answer.error_code is ErrorCode.DNS


async def test_silent_server_is_a_timeout() -> None:
    """A server that takes the request and never answers: timeout, after the total time."""
    async with raw_server(silence) as (port, _), outbound(timeout=SHORT) as client:
        started = asyncio.get_running_loop().time()
        assert (await client.post(f"http://127.0.0.1:{port}/", b"", {})).error_code is ErrorCode.TIMEOUT
        assert 0.3 < asyncio.get_running_loop().time() - started < 5


async def test_silent_handshake_is_a_timeout() -> None:
    """A server that never finishes TLS: timeout, after the time to connect."""
    async with raw_server(silence) as (port, _), outbound(timeout=SHORT) as client:
        assert (await client.post(f"https://127.0.0.1:{port}/", b"", {})).error_code is ErrorCode.TIMEOUT


def test_default_times_are_the_promised_ones() -> None:
    """5 s to connect, 30 s in all."""
    assert (TIMEOUT.connect, TIMEOUT.total) == (5, 30)


@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 2", b"no http\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 99_999])
async def test_broken_answer_is_a_reset(content: bytes) -> None:
    """A connection that ends without a whole HTTP head, or with an endless one: reset."""
    async with raw_server(answering(content)) as (port, _), outbound() as client:
        assert await client.post(f"http://127.0.0.1:{port}/", b"", {}) == Answer(0, None, ErrorCode.RESET)


async def test_untrusted_certificate_is_named(server_tls: ssl.SSLContext) -> None:
    """A certificate nobody vouches for: tls, and no request is sent."""
    requests: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.read())

    async with raw_server(note, server_tls) as (port, _), outbound() as client:
        assert (await client.post(f"https://127.0.0.1:{port}/", b"", {})).error_code is ErrorCode.TLS
    assert b"".join(requests) == b""


async def test_https_with_the_system_trust_store(server_tls: ssl.SSLContext, certificate: Path) -> None:
    """A certificate of the machine's trust store is accepted (SSL_CERT_FILE names it here)."""
    program = (
        "import asyncio, sys; from sinks.outbound import Outbound; from tests.sinks.samples import LOOPBACK\n"
        "async def main():\n"
        "    client = Outbound(LOOPBACK); print(await client.post(sys.argv[1], b'x', {})); await client.close()\n"
        "asyncio.run(main())"
    )
    answer = answering(b"HTTP/1.1 204 No Content\r\n\r\n")
    async with raw_server(answer, server_tls) as (port, _):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, f"https://127.0.0.1:{port}/"),
            env={**os.environ, "SSL_CERT_FILE": str(certificate)},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )
        printed, _ = await process.communicate()
    assert printed.decode().strip() == repr(Answer(204))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "https://", "http://127.0.0.1:99999/", "http://2130706433/", ""])
async def test_unusable_url_is_an_answer_not_an_error(url: str) -> None:
    """What cannot be requested at all is reported like any other failure and never raised."""
    async with outbound() as client:
        answer = await client.post(url, b"", {})
    assert answer.status == 0
    assert answer.error_code in {ErrorCode.INVALID_REQUEST, ErrorCode.DNS, ErrorCode.REFUSED, ErrorCode.TIMEOUT}


async def test_a_line_break_in_a_url_adds_no_header() -> None:
    """A URL with line breaks stays one request line, or is not sent at all."""
    async with recording() as server, outbound() as client:
        await client.post(f"{server.url}/a?b=\r\nX-Forged: 1\r\n\r\n", b"", {})
        assert all("X-Forged" not in request.headers for request, _ in server.requests)
        assert len(server.requests) <= 1


async def test_contradicting_credentials_are_an_answer() -> None:
    """Credentials in the URL beside an Authorization header: invalid_request."""
    async with outbound() as client:
        answer = await client.post("http://u:p@127.0.0.1:9/", b"", {"Authorization": "Bearer x"})
    assert answer == Answer(0, None, ErrorCode.INVALID_REQUEST)


async def test_endless_answer_is_cut() -> None:
    """The status counts; of an endless body little is read, and the connection is dropped."""
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            writer.write(b"x" * 16_384)
            await writer.drain()
            written += 16_384

    async with raw_server(flood) as (port, _), outbound() as client:
        assert (await client.post(f"http://127.0.0.1:{port}/", b"", {})).status == 200
    assert written < 200 * MAX_ANSWER  # what the kernel buffered, not what we read


async def test_compressed_bomb_is_not_unpacked() -> None:
    """50 MB in 50 kB of gzip are read as they came: the memory it takes stays small."""
    bomb = gzip.compress(bytes(50_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with raw_server(answering(head + bomb)) as (port, _), outbound() as client:
        tracemalloc.start()
        try:
            assert (await client.post(f"http://127.0.0.1:{port}/", b"", {})).status == 200
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()


async def test_status_counts_when_the_body_stalls() -> None:
    """A 200 whose body never ends in time was still a 200."""

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await reader.read()

    async with raw_server(stall) as (port, _), outbound(timeout=SHORT) as client:
        assert (await client.post(f"http://127.0.0.1:{port}/", b"", {})).status == 200


async def test_cancelling_a_post_ends_it() -> None:
    """Cancelled while waiting for the answer: CancelledError, and the connection is gone."""
    closed = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        closed.set()

    async with raw_server(watch) as (port, connections), outbound() as client:
        post = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/", b"", {}))
        await until(lambda: connections)
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post
        await asyncio.wait_for(closed.wait(), 5)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Thu, 09 Oct 2025 08:53:50 GMT", "Date": "Thu, 09 Oct 2025 08:53:20 GMT"}, 30.0),
        ({"Retry-After": "Thu, 09 Oct 2025 08:53:00 GMT", "Date": "Thu, 09 Oct 2025 08:53:20 GMT"}, 0.0),
        ({"Retry-After": "Thu, 09 Oct 2025 08:53:50 GMT"}, None),
        ({"Retry-After": "Thu, 09 Oct 2025 08:53:50 -0000", "Date": "Thu, 09 Oct 2025 08:53:20 GMT"}, None),
        ({"Retry-After": "soon", "Date": "Thu, 09 Oct 2025 08:53:20 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date relative to the answer's own; anything else is as if it were not there."""
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("address", "allowed", "public", "expected"),
    [
        ("8.8.8.8", "10.0.0.0/8", True, True),
        ("8.8.8.8", "10.0.0.0/8", False, False),
        ("2606:4700::1111", "10.0.0.0/8", True, True),
        ("64:ff9b::808:808", "10.0.0.0/8", True, True),
        ("64:ff9b::a00:1", "192.0.2.0/24", True, False),
        ("64:ff9b:1::1", "10.0.0.0/8", True, False),
        ("2002:a00:1::1", "192.0.2.0/24", True, False),
        ("::ffff:10.0.0.1", "10.0.0.0/8", False, True),
        ("10.1.2.3", "10.0.0.0/8", False, True),
        ("2001:0:1::1", "10.0.0.0/8", True, False),
        ("fec0::1", "10.0.0.0/8", True, False),
        ("::10.0.0.1", "192.0.2.0/24", True, False),
        ("ff0e::1", "10.0.0.0/8", True, False),
        ("239.1.1.1", "10.0.0.0/8", True, False),
        ("255.255.255.255", "10.0.0.0/8", True, False),
        ("198.18.0.1", "10.0.0.0/8", True, False),
    ],
)
def test_permitted_addresses(address: str, allowed: str, public: bool, expected: bool) -> None:
    """Public and global, or inside an allowed network; a carried IPv4 address is judged, not its carrier."""
    assert permitted(ip_address(address), (ip_network(allowed),), public) is expected


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
