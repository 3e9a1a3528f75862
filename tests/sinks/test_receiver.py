"""The sample receiver, in this process and as the command people run."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest

from schemas.settings import PORTS, Settings
from sinks.channels.webhook import render
from sinks.receiver import Receiver, serve
from tests.conftest import FreePorts
from tests.sinks.samples import destination, message, notification

SECRET = "a secret of the receiver"


def _settings(path: Path, port: int) -> dict[str, str]:
    return {**os.environ, **Settings(data_dir=path, port_base=port - PORTS["receiver"]).environ()}


@asynccontextmanager
async def receiving(journal: Path, port: int, secret: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A receiver in this process, and a client whose base it is."""
    stop = asyncio.Event()
    with closing(Receiver(journal, secret)) as receiver:
        served = asyncio.create_task(serve(receiver, "127.0.0.1", port, stop))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            await _reachable(client, served)
            yield client
        stop.set()
        await served


async def _reachable(client: aiohttp.ClientSession, served: "asyncio.Task[None] | None" = None) -> None:
    async with asyncio.timeout(20):
        while served is None or not served.done():
            try:
                async with client.get("/summary") as response:
                    assert response.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
    await asyncio.wait_for(served, 0)


async def post(
    client: aiohttp.ClientSession,
    number: int = 0,
    query: str = "",
    secret: str | None = None,
    template: str = "stormweir-v1",
) -> aiohttp.ClientResponse:
    """Post the sample notification as the channel would."""
    target = destination("https://example.com", secret=secret, template=template)
    [request] = render(message(notification(number), now=int(time.time() * 1000)), target, "")
    async with client.post(f"/any/path{query}", data=request.body, headers=request.headers) as response:
        await response.read()
        return response


async def summary(client: aiohttp.ClientSession) -> dict[str, int]:
    """What the receiver counted."""
    async with client.get("/summary") as response:
        counts: dict[str, int] = await response.json()
        return counts


@pytest.mark.parametrize(
    ("template", "event"),
    [("stormweir-v1", "incident.triggered"), ("opsknight-v1", "incident.triggered"), ("cortif-v1", "alert.triggered")],
)
async def test_notes_what_arrived(tmp_path: Path, free_ports: FreePorts, template: str, event: str) -> None:
    """Each template's id, timestamp, event and incident are one line in the journal."""
    [port] = free_ports(1)
    journal = tmp_path / "new" / "receiver.jsonl"
    async with receiving(journal, port) as client:
        response = await post(client, template=template)
        assert response.status == 200
        [line] = [json.loads(text) for text in journal.read_text().splitlines()]
    assert line == {
        "id": response.request_info.headers["webhook-id"],
        "timestamp": response.request_info.headers["webhook-timestamp"],
        "event": event,
        "incident": "00010203-0405-0607-0809-0a0b0c0d0e0f",
    }


async def test_counts_distinct_and_repeated_and_outlives_a_restart(tmp_path: Path, free_ports: FreePorts) -> None:
    """Counts are by id and come back from the journal, even when its last line was torn."""
    [port] = free_ports(1)
    journal = tmp_path / "receiver.jsonl"
    async with receiving(journal, port) as client:
        for number in (0, 1, 1, 2, 2, 2):
            await post(client, number)
        assert await summary(client) == {"received": 6, "distinct": 3, "repeated": 2, "rejected": 0}
    with journal.open("ab") as file:
        file.write(b'{"id":"torn')
    async with receiving(journal, port) as client:
        await post(client, 3)
        assert await summary(client) == {"received": 7, "distinct": 4, "repeated": 2, "rejected": 0}
    async with receiving(journal, port) as client:
        assert await summary(client) == {"received": 7, "distinct": 4, "repeated": 2, "rejected": 0}


async def test_fails_as_the_query_says(tmp_path: Path, free_ports: FreePorts) -> None:
    """The first N of each id fail with that status and header, unnoted; then it is 200."""
    [port] = free_ports(1)
    query = "?status=503&first=2&retry_after=9&delay=0.01"
    async with receiving(tmp_path / "receiver.jsonl", port) as client:
        responses = [await post(client, number, query) for number in (0, 0, 1, 0)]
        assert [response.status for response in responses] == [503, 503, 503, 200]
        assert [response.headers.get("Retry-After") for response in responses] == ["9", "9", "9", None]
        assert (await post(client, 4, "?status=410")).status == 410
        assert (await summary(client))["received"] == 1
        assert (await post(client, 5, "?status=soon")).status == 400


async def test_refuses_what_the_secret_did_not_sign(tmp_path: Path, free_ports: FreePorts) -> None:
    """With a secret only its signatures are noted; the others are counted as rejected."""
    [port] = free_ports(1)
    async with receiving(tmp_path / "receiver.jsonl", port, SECRET) as client:
        assert (await post(client, 0, secret=SECRET)).status == 200
        assert (await post(client, 1, secret=SECRET + "x")).status == 401
        assert (await post(client, 2)).status == 401
        assert await summary(client) == {"received": 1, "distinct": 1, "repeated": 0, "rejected": 2}


async def test_says_what_it_cannot_take(tmp_path: Path, free_ports: FreePorts) -> None:
    """A missing id is 400 and another method 405; any body is noted, as long as it has an id."""
    [port] = free_ports(1)
    async with receiving(tmp_path / "receiver.jsonl", port) as client:
        async with client.post("/", data=b"{}") as response:
            assert (response.status, await response.json()) == (400, {"error": "webhook-id: the header is missing"})
        async with client.get("/other") as response:
            assert response.status == 405
        for body in (b"", b"no json", b"[]", b'{"incident": 3}', b'{"event": "x", "alert": "y"}', b"\xff"):
            async with client.post("/", data=body, headers={"webhook-id": "a"}) as response:
                assert response.status == 200
        assert await summary(client) == {"received": 6, "distinct": 1, "repeated": 1, "rejected": 0}


async def test_command_serves_until_sigterm(tmp_path: Path, free_ports: FreePorts) -> None:
    """`stormweir receiver` serves on its port, takes the secret from the environment, ends with status 0."""
    [port] = free_ports(1)
    environ = {**_settings(tmp_path, port), "RECEIVER_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli", "receiver"), cwd=Path(__file__).parents[2], env=environ
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            await _reachable(client)
            assert (await post(client, 0, secret=SECRET)).status == 200
            assert (await post(client, 1)).status == 401
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert len((tmp_path / "receiver.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("secret", [None, "whsec_not*base64"])
async def test_command_explains_what_it_cannot_use(tmp_path: Path, free_ports: FreePorts, secret: str | None) -> None:
    """A port in use or a secret that is no key: status 2, a line that says so, and not the secret."""
    [port] = free_ports(1)
    environ = _settings(tmp_path, port) | ({"RECEIVER_SECRET": secret} if secret else {})
    async with receiving(tmp_path / "other.jsonl", port):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.cli", "receiver"),
            cwd=Path(__file__).parents[2],
            env=environ,
            stderr=asyncio.subprocess.PIPE,
        )
        _, printed = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    text = printed.decode()
    assert ("base64" if secret else str(port)) in text
    assert "Traceback" not in text
    assert "not*base64" not in text
