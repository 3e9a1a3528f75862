"""A sample receiver of webhooks: it records requests, and fails on request.

Each request answered 2xx is written to its journal, one JSON line each, before the answer is sent. The receiver
reads the journal when it starts, so its counts survive a restart.
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
    """Accepts any POST with a `webhook-id`; `GET /summary` returns the counts.

    Query parameters make it fail: `status=503` answers with that status and records nothing, `first=N` limits the
    failure to the first N requests of each id, `retry_after=S` adds that header, `delay=S` waits before the answer.
    With a secret, requests without a valid Standard Webhooks signature are answered 401.
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
                continue  # a receiver was killed while it wrote this line, before its answer
        self._journal = journal.open("ab", buffering=0)
        self._journal.write(b"\n" if self._journal.tell() else b"")

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def summary(self) -> dict[str, int]:
        """Counts of requests answered 2xx, distinct ids, ids received more than once, and rejected signatures."""
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
