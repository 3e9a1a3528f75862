"""`Idempotency-Key`: a request that is sent again changes nothing and gets the first one's answer.

As in draft-ietf-httpapi-idempotency-key-header: 422 if the key came with another request, 409 while the first is being
answered. Answers are in the memory of one process, for ten minutes.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.api.problems import ProblemError, problem

KEPT_S = 600.0
#: Answers that are kept, and the bytes of the longest; a longer one is not kept.
_MOST = 2_000
_LONGEST = 65_536
_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_KEY_LENGTH = 200


@dataclass(slots=True)
class _Answer:
    """What was answered; `done` once all of it is here."""

    request: bytes
    at: float
    start: Message = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    done: bool = False


class Once:
    """Keeps answers by caller and key. Requests of nobody are passed on: they are refused, or log in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        key = Request(scope).headers.get("idempotency-key", "") if scope["type"] == "http" else ""
        if not key or scope["method"] not in _METHODS:
            await self._app(scope, receive, send)
            return
        try:
            caller = await scope["app"].state.parts.identity.caller(Request(scope))
        except ProblemError:
            caller = None
        if caller is None:
            await self._app(scope, receive, send)
        elif len(key) > _KEY_LENGTH:
            await problem(400, f"an Idempotency-Key has at most {_KEY_LENGTH} characters")(scope, receive, send)
        else:
            body = await Request(scope, receive).body()
            await self._once((caller.id, key), _digest(scope, body), scope, _again(body, receive), send)

    async def _once(self, key: tuple[str, str], request: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        now = time.monotonic()
        self._forget(now)
        known = self._answers.get(key)
        if known is not None:
            await _known(known, request)(scope, receive, send)
            return
        answer = self._answers[key] = _Answer(request, now)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.start = message
            else:
                answer.body += message.get("body", b"")
                answer.done = not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            # What did not come to an end or was refused may be tried again.
            if not answer.done or answer.start["status"] >= 400 or len(answer.body) > _LONGEST:
                self._answers.pop(key, None)

    def _forget(self, now: float) -> None:
        while self._answers:
            key, oldest = next(iter(self._answers.items()))
            if now - oldest.at < KEPT_S and len(self._answers) < _MOST:
                return
            del self._answers[key]


def _known(answer: _Answer, request: bytes) -> Response:
    if answer.request != request:
        return problem(422, "this Idempotency-Key came with another request")
    if not answer.done:
        return problem(409, "the first request with this Idempotency-Key is still being answered")
    response = Response(bytes(answer.body), answer.start["status"])
    response.raw_headers = [*answer.start["headers"]]
    return response


def _digest(scope: Scope, body: bytes) -> bytes:
    parts = scope["method"].encode(), scope["path"].encode(), scope["query_string"], body
    return sha256(b"\0".join(sha256(part).digest() for part in parts)).digest()


def _again(body: bytes, receive: Receive) -> Receive:
    """Receives the body that was read already, then what follows it."""
    left = [body]

    async def received() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return received
