"""A sample receiver of webhooks: it notes what arrived, and fails on request.

What it answered 2xx is in its journal, one JSON line each, before the answer is sent; it reads the
journal again when it starts, so its counts outlive it.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import orjson
from aiohttp import web

from schemas.wire.standard_webhooks import signing_key
from sinks.signature import verify


class Receiver:
    """Takes any POST that carries a `webhook-id`; `GET /summary` tells the counts.

    The query scripts a failure: `status=503` answers so without noting anything, only for the first N
    requests of each id with `first=N`, `retry_after=S` adds that header, `delay=S` waits before it
    answers. With a secret, requests without a fitting Standard Webhooks signature are answered 401.
    Raises ValueError for a secret that cannot be a key, OSError for a journal that cannot be written.
    """

    def __init__(self, journal: Path, secret: str | None = None) -> None:
        if secret is not None:
            signing_key(secret)
        self._secret = secret
        self._ids: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._rejected = 0
        journal.parent.mkdir(parents=True, exist_ok=True)
        for line in journal.read_bytes().splitlines() if journal.exists() else ():
            try:
                self._ids[orjson.loads(line)["id"]] += 1
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue  # the line a killed receiver was writing: it had not answered yet
        self._journal = journal.open("ab", buffering=0)
        self._journal.write(b"\n" if self._journal.tell() else b"")

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def summary(self) -> dict[str, int]:
        """Requests answered 2xx, distinct ids, ids that came more than once, and refused signatures."""
        return {
            "received": self._ids.total(),
            "distinct": len(self._ids),
            "repeated": sum(count > 1 for count in self._ids.values()),
            "rejected": self._rejected,
        }

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        if request.method == "GET" and request.path == "/summary":
            return _answer(200, self.summary())
        if request.method != "POST":
            return _answer(405, {"error": "POST a webhook, or GET /summary"})
        body = await request.read()
        message_id = request.headers.get("webhook-id", "")
        if not message_id:
            return _answer(400, {"error": "webhook-id: the header is missing"})
        if self._secret is not None and not verify(self._secret, request.headers, body, int(time.time())):
            self._rejected += 1
            return _answer(401, {"error": "webhook-signature: it does not fit"})
        try:
            status, headers = await self._script(message_id, request.query) if request.query_string else (200, {})
        except ValueError as error:
            return _answer(400, {"error": f"query: {error}"})
        if status < 300:
            self._note(message_id, request.headers.get("webhook-timestamp", ""), body)
        return _answer(status, {"status": status}, headers)

    async def _script(self, message_id: str, query: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        self._attempts[message_id] += 1
        await asyncio.sleep(float(query.get("delay", "0")))
        if self._attempts[message_id] > int(query.get("first", str(sys.maxsize))):
            return 200, {}
        headers = {"Retry-After": str(int(query["retry_after"]))} if "retry_after" in query else {}
        return int(query.get("status", "200")), headers

    def _note(self, message_id: str, timestamp: str, body: bytes) -> None:
        event, incident = _read(body)
        line = {"id": message_id, "timestamp": timestamp, "event": event, "incident": incident}
        self._journal.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._ids[message_id] += 1


async def serve(receiver: Receiver, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises OSError when the port is taken."""
    runner = web.ServerRunner(web.Server(receiver.handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await stop.wait()
    finally:
        await runner.cleanup()


def _read(body: bytes) -> tuple[str, str]:
    # Each template names its subject differently: an incident, or an alert in cortif-v1.
    try:
        content = orjson.loads(body)
        subject = content.get("incident") or content["alert"]
        return str(content["event"]), str(subject["id"])
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return "", ""


def _answer(status: int, content: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(content), content_type="application/json", headers=headers)
