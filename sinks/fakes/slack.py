"""Slack: the Web API, incoming webhooks, installation by OAuth, and the clicks of people.

As Slack, the Web API answers 200 with `ok` and `error` in the body, and 429 with `Retry-After` above its rates.
https://docs.slack.dev/reference/methods , https://docs.slack.dev/apis/web-api/rate-limits ,
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors ,
https://docs.slack.dev/interactivity/handling-user-interaction
"""

import hmac
import math
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import web

from sinks.fakes._slack_workspace import SCOPES, TOKEN, WEBHOOK, Workspace

__all__ = ["APP_TOKEN", "CLIENT", "RESPONSE_USES", "SIGNING_SECRET", "TOKEN", "WEBHOOK", "FakeSlack", "application"]

SIGNING_SECRET = "fake-signing-secret"  # noqa: S105 - of an app that does not exist
CLIENT = ("fake-client-id", "fake-client-secret")
APP_TOKEN = "xapp-fake-token"  # noqa: S105 - the same
RESPONSE_USES = 5
_RESPONSE_S = 1_800
_CODE_S = 600


class FakeSlack(Workspace):
    """One workspace with one app, over HTTP. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._codes: dict[str, float] = {}
        self._responses: dict[str, tuple[float, int]] = {}
        #: Sockets of Socket Mode: addresses that were given out, and those that are open.
        self._addresses: set[str] = set()
        self.sockets: list[web.WebSocketResponse] = []

    def application(self) -> web.Application:
        """Everything of it as one HTTP application."""
        app = web.Application(client_max_size=2**20)
        app.router.add_post("/api/oauth.v2.access", self._access)
        app.router.add_post("/api/apps.connections.open", self._open)
        app.router.add_get("/socket/{id}", self._listen)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_get("/oauth/v2/authorize", self._authorize)
        app.router.add_post("/services/{path:.*}", self._webhook)
        app.router.add_post("/response/{id}", self._response)
        app.router.add_get("/_seen", self._seen)
        return app

    def click(self, ts: str, action_id: str, base_url: str, user: str = "U0ADA") -> tuple[bytes, dict[str, str]]:
        """The body and headers of the request by which Slack tells of a click on a button of that message.

        `base_url` is this fake's own address, for the `response_url`. Raises StopIteration if nobody sees that button.
        """
        payload = orjson.dumps(self._payload(ts, action_id, base_url, user)).decode()
        return self.signed(urlencode({"payload": payload}).encode())

    async def press(self, ts: str, action_id: str, base_url: str, user: str = "U0ADA") -> None:
        """Tell of a click over the newest open socket, as `click`."""
        payload = self._payload(ts, action_id, base_url, user)
        envelope = {"type": "interactive", "envelope_id": self.stamp(), "payload": payload}
        await self.sockets[-1].send_json({**envelope, "accepts_response_payload": False})

    def _payload(self, ts: str, action_id: str, base_url: str, user: str) -> Mapping[str, Any]:
        message = next(each for each in self.truth.messages if each.ts == ts)
        elements = (element for block in message.blocks for element in block.get("elements", ()))
        button = next(each for each in elements if each.get("action_id") == action_id)
        response = self.stamp()
        self._responses[response] = (self.clock() + _RESPONSE_S, RESPONSE_USES)
        action = {key: button[key] for key in ("action_id", "value", "type") if key in button}
        return {
            "type": "block_actions",
            "team": {"id": "T0000000", "domain": "fake"},
            "user": {"id": user, "username": user.removeprefix("U0").lower(), "team_id": "T0000000"},
            "channel": {"id": message.channel, "name": self.channels[message.channel].name},
            "container": {"type": "message", "message_ts": ts, "channel_id": message.channel},
            "message": {"ts": ts, "text": message.text},
            "response_url": f"{base_url}/response/{response}",
            "actions": [{**action, "action_ts": self.stamp()}],
        }

    def signed(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        """The body and the headers with which Slack would send it now."""
        stamp = str(int(self.clock()))
        mac = hmac.digest(SIGNING_SECRET.encode(), b"v0:%b:%b" % (stamp.encode(), body), sha256)
        return body, {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={mac.hex()}",
        }

    # -- Web API and webhooks

    async def _api(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        answer, wait = self.call(request.match_info["method"], token, await _content(request))
        if answer.get("error") == "ratelimited":
            return web.json_response(answer, status=429, headers={"Retry-After": str(math.ceil(wait))})
        return web.json_response(answer)

    async def _webhook(self, request: web.Request) -> web.Response:
        try:
            content = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            content = None
        status, text = self.hook(request.path, content)
        if status == 429:
            return web.json_response({"ok": False, "error": "rate_limited", "retry_after": 1}, status=429)
        return web.Response(status=status, text=text)

    # -- installation

    async def _authorize(self, request: web.Request) -> web.Response:
        """The page where a human chooses the workspace and allows: this one allows at once."""
        query = request.query
        if query.get("client_id") != CLIENT[0] or not query.get("redirect_uri"):
            return web.Response(status=400, text="invalid client_id or redirect_uri")
        scopes = set(query.get("scope", "").split(","))
        if scopes != set(SCOPES):
            return web.Response(status=400, text="invalid_scope")
        code = self.stamp()
        self._codes[code] = self.clock() + _CODE_S
        answer = urlencode({"code": code, "state": query.get("state", "")})
        raise web.HTTPFound(f"{query['redirect_uri']}?{answer}")

    async def _access(self, request: web.Request) -> web.Response:
        content = await _content(request)
        self.truth.received.append(("oauth.v2.access", {**content, "code": "..."}))
        basic = request.headers.get("Authorization", "").removeprefix("Basic ")
        if tuple(b64decode(basic).decode().split(":")) != CLIENT:
            error = "invalid_client_id"
        elif self._codes.pop(str(content.get("code")), 0.0) < self.clock():
            error = "invalid_code"
        else:
            self.truth.accepted += 1
            return web.json_response(
                {
                    "ok": True,
                    "access_token": TOKEN,
                    "token_type": "bot",
                    "scope": ",".join(SCOPES),
                    "bot_user_id": "U0BOT",
                    "team": {"id": "T0000000", "name": "Fake workspace"},
                }
            )
        self.truth.refusals.append(error)
        return web.json_response({"ok": False, "error": error})

    # -- Socket Mode

    async def _open(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if (error := self.next_error()) is None and token != APP_TOKEN:
            error = "not_allowed_token_type" if token in self.tokens else "invalid_auth"
        if error is not None:
            self.truth.refusals.append(error)
            return web.json_response({"ok": False, "error": error})
        address = self.stamp()
        self._addresses.add(address)
        return web.json_response({"ok": True, "url": f"ws://{request.host}/socket/{address}"})

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["id"] not in self._addresses:
            return web.Response(status=404)
        self._addresses.remove(request.match_info["id"])
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": len(self.sockets) + 1})
        self.sockets.append(socket)
        async for message in socket:
            content = orjson.loads(message.data)
            self.truth.acknowledged.append(content["envelope_id"])
        self.sockets.remove(socket)
        return socket

    # -- answers to clicks

    async def _response(self, request: web.Request) -> web.Response:
        content = await _content(request)
        self.truth.received.append(("response_url", content))
        until, uses = self._responses.get(request.match_info["id"], (0.0, 0))
        if until < self.clock() or uses < 1:
            self.truth.refusals.append("used_url")
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        self._responses[request.match_info["id"]] = until, uses - 1
        self.truth.accepted += 1
        self.truth.responses.append(content)
        return web.Response(text="ok")

    async def _seen(self, request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(asdict(self.truth)), content_type="application/json")


def application() -> web.Application:
    """A new workspace with one app."""
    return FakeSlack().application()


async def _content(request: web.Request) -> Mapping[str, Any]:
    """The parameters: of the query, and of a JSON or form body."""
    if request.content_type == "application/json":
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            body = {}
        return {**request.query, **body} if isinstance(body, dict) else {}
    return {**request.query, **await request.post()}
