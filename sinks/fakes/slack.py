"""Slack: the Web API, incoming webhooks, installation by OAuth, and the clicks of people.

As Slack, the Web API answers 200 with `ok` and `error` in the body, and 429 with `Retry-After` above its rates.
https://docs.slack.dev/reference/methods , https://docs.slack.dev/apis/web-api/rate-limits ,
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors ,
https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import hmac
import math
import time
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import web

from sinks.fakes._slack_rules import MAX_UPDATE_TEXT, block_error, mentions

TOKEN = "xoxb-fake-token"  # noqa: S105 - of a workspace that does not exist
SIGNING_SECRET = "fake-signing-secret"  # noqa: S105 - the same
CLIENT = ("fake-client-id", "fake-client-secret")
WEBHOOK = "/services/T0000000/B0000000/fake-webhook-key"
SCOPES = ("chat:write", "channels:read", "groups:read")
#: The scope that each method needs; one of them is enough.
_NEEDED = {
    "chat.postMessage": {"chat:write"},
    "chat.update": {"chat:write"},
    "conversations.list": {"channels:read", "groups:read"},
}
#: Requests a second and the burst that a bucket allows: a channel's messages, and the updates of a workspace.
_MESSAGES = (1.0, 1.0)
_UPDATES = (50 / 60, 50.0)
#: How much earlier than the rate a request may arrive, because the way to Slack is not equally long each time.
_JITTER_S = 0.1
_CODE_S = 600
_RESPONSE_S = 1_800
RESPONSE_USES = 5


@dataclass
class Channel:
    """A channel of the workspace; `member` says whether the bot is in it."""

    id: str
    name: str
    member: bool = True
    private: bool = False
    archived: bool = False


@dataclass
class Posted:
    """A message that people see in a channel now. `notified` are those whom it notified when it was new."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread_ts: str = ""
    edits: int = 0
    notified: list[str] = field(default_factory=list)


@dataclass
class Truth:
    """What was received (method or path, and content), which of it was accepted, what people see, each refusal."""

    received: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    accepted: int = 0
    messages: list[Posted] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    #: What people saw in answer to a click.
    responses: list[Mapping[str, Any]] = field(default_factory=list)


class FakeSlack:
    """One workspace with one app. `script` are the errors of the next calls, `None` for what is right.

    `clock` gives seconds; `lag` seconds pass before each answer.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.lag = 0.0
        self.truth = Truth()
        self.script: deque[str | None] = deque()
        self.channels = {
            each.id: each
            for each in (
                Channel("C0GENERAL", "general"),
                Channel("C0ALERTS", "alerts"),
                Channel("C0OTHERS", "others", member=False),
                Channel("C0OLD", "old", archived=True),
                Channel("G0PRIVATE", "private", private=True),
                Channel("G0SECRET", "secret", member=False, private=True),
            )
        }
        self.tokens: dict[str, set[str]] = {TOKEN: set(SCOPES)}
        self.revoked: set[str] = set()
        self.page = 2
        self._codes: dict[str, float] = {}
        self._responses: dict[str, tuple[float, int]] = {}
        self._buckets: dict[str, tuple[float, float]] = {}
        self._count = 0

    def application(self) -> web.Application:
        """Everything of it as one HTTP application."""
        app = web.Application(client_max_size=2**20)
        app.router.add_post("/api/oauth.v2.access", self._access)
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
        message = next(each for each in self.truth.messages if each.ts == ts)
        elements = (element for block in message.blocks for element in block.get("elements", ()))
        button = next(each for each in elements if each.get("action_id") == action_id)
        self._count += 1
        response = f"r{self._count}"
        self._responses[response] = (self.clock() + _RESPONSE_S, RESPONSE_USES)
        action = {key: button[key] for key in ("action_id", "value", "type") if key in button}
        payload = {
            "type": "block_actions",
            "team": {"id": "T0000000", "domain": "fake"},
            "user": {"id": user, "username": user.removeprefix("U0").lower(), "team_id": "T0000000"},
            "channel": {"id": message.channel, "name": self.channels[message.channel].name},
            "container": {"type": "message", "message_ts": ts, "channel_id": message.channel},
            "message": {"ts": ts, "text": message.text},
            "response_url": f"{base_url}/response/{response}",
            "actions": [{**action, "action_ts": self._stamp()}],
        }
        return self.signed(urlencode({"payload": orjson.dumps(payload).decode()}).encode())

    def signed(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        """The body and the headers with which Slack would send it now."""
        stamp = str(int(self.clock()))
        mac = hmac.digest(SIGNING_SECRET.encode(), b"v0:%b:%b" % (stamp.encode(), body), sha256)
        return body, {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={mac.hex()}",
        }

    def _stamp(self) -> str:
        """A new time stamp of Slack's; no two are the same."""
        self._count += 1
        return f"{int(self.clock())}.{self._count:06d}"

    # -- Web API

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        content = await _content(request)
        self.truth.received.append((method, content))
        await asyncio.sleep(self.lag)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        error, wait = self._next() or self._refusal(method, token, content), 1.0
        if error is None and method.startswith("chat.") and (wait := self._wait(method, content)):
            error = "ratelimited"
        if error is not None:
            self.truth.refusals.append(error)
            if error == "ratelimited":
                headers = {"Retry-After": str(math.ceil(wait))}
                return web.json_response({"ok": False, "error": error}, status=429, headers=headers)
            return web.json_response({"ok": False, "error": error})
        self.truth.accepted += 1
        match method:
            case "chat.postMessage":
                return self._posted(content)
            case "chat.update":
                return self._updated(content)
            case _:
                return self._listed(content)

    def _next(self) -> str | None:
        return self.script.popleft() if self.script else None

    def _refusal(self, method: str, token: str, content: Mapping[str, Any]) -> str | None:
        if method not in _NEEDED:
            return "unknown_method"
        if not token:
            return "not_authed"
        if token in self.revoked:
            return "token_revoked"
        if token not in self.tokens:
            return "invalid_auth"
        if not _NEEDED[method] & self.tokens[token]:
            return "missing_scope"
        return self._message_refusal(method, content) if method.startswith("chat.") else None

    def _message_refusal(self, method: str, content: Mapping[str, Any]) -> str | None:
        channel = self.channels.get(str(content.get("channel")))
        if channel is None or (channel.private and not channel.member):
            return "channel_not_found"
        if not channel.member:
            return "not_in_channel"
        if channel.archived:
            return "is_archived"
        text, blocks = content.get("text") or "", content.get("blocks") or []
        if method == "chat.update" and self._message(content) is None:
            return "message_not_found"
        if not text and not blocks:
            return "no_text"
        if method == "chat.update" and len(text.encode()) > MAX_UPDATE_TEXT:
            return "msg_too_long"
        return block_error(blocks)

    def _wait(self, method: str, content: Mapping[str, Any]) -> float:
        """Take a token of the method's bucket; seconds until there is one, 0 if there was."""
        scope = f"{method} {content.get('channel')}" if method == "chat.postMessage" else method
        per_second, burst = _MESSAGES if method == "chat.postMessage" else _UPDATES
        now = self.clock()
        tokens, at = self._buckets.get(scope, (burst, now))
        tokens = min(burst, tokens + (now - at) * per_second)
        if tokens < 1 - _JITTER_S * per_second:
            self._buckets[scope] = tokens, now
            return (1 - tokens) / per_second
        self._buckets[scope] = tokens - 1, now
        return 0.0

    def _message(self, content: Mapping[str, Any]) -> Posted | None:
        place = content.get("channel"), content.get("ts")
        return next((each for each in self.truth.messages if (each.channel, each.ts) == place), None)

    def _posted(self, content: Mapping[str, Any]) -> web.Response:
        ts = self._stamp()
        thread = str(content.get("thread_ts", ""))
        message = Posted(
            content["channel"], ts, content.get("text") or "", content.get("blocks") or [], thread, 0, mentions(content)
        )
        self.truth.messages.append(message)
        shown = {"type": "message", "text": message.text, "ts": ts, **({"thread_ts": thread} if thread else {})}
        return web.json_response({"ok": True, "channel": message.channel, "ts": ts, "message": shown})

    def _updated(self, content: Mapping[str, Any]) -> web.Response:
        message = self._message(content)
        assert message is not None
        message.text, message.blocks = content.get("text") or "", content.get("blocks") or []
        message.edits += 1
        shown = {"type": "message", "text": message.text}
        return web.json_response({"ok": True, "channel": message.channel, "ts": message.ts, "message": shown})

    def _listed(self, content: Mapping[str, Any]) -> web.Response:
        types = str(content.get("types", "public_channel")).split(",")
        listed = [
            each
            for each in self.channels.values()
            if (not each.private and "public_channel" in types)
            or (each.private and each.member and "private_channel" in types)
            if not (each.archived and content.get("exclude_archived") in (True, "true", "1"))
        ]
        start = int(content.get("cursor") or 0)
        end = start + self.page
        cursor = str(end) if end < len(listed) else ""
        rows = [
            {
                "id": each.id,
                "name": each.name,
                "is_member": each.member,
                "is_private": each.private,
                "is_archived": each.archived,
            }
            for each in listed[start:end]
        ]
        return web.json_response({"ok": True, "channels": rows, "response_metadata": {"next_cursor": cursor}})

    # -- installation

    async def _authorize(self, request: web.Request) -> web.Response:
        """The page where a human chooses the workspace and allows: this one allows at once."""
        query = request.query
        if query.get("client_id") != CLIENT[0] or not query.get("redirect_uri"):
            return web.Response(status=400, text="invalid client_id or redirect_uri")
        scopes = set(query.get("scope", "").split(","))
        if scopes != set(SCOPES):
            return web.Response(status=400, text="invalid_scope")
        self._count += 1
        code = f"code{self._count}"
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

    # -- webhooks and answers to clicks

    async def _webhook(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            content = None
        self.truth.received.append((request.path, content if isinstance(content, dict) else {}))
        error = self._next()
        status = _WEBHOOK_STATUS.get(error or "", 400)
        if error is None:
            status, error = self._webhook_refusal(request.path, content)
        if error == "ratelimited":
            self.truth.refusals.append(error)
            return web.json_response({"ok": False, "error": "rate_limited", "retry_after": 1}, status=429)
        if error is not None:
            self.truth.refusals.append(error)
            return web.Response(status=status, text=error)
        self.truth.accepted += 1
        attachments = content.get("attachments", [])
        blocks = [{"type": "attachment", **each} for each in attachments]
        ts = self._stamp()
        message = Posted("C0GENERAL", ts, content.get("text", ""), blocks, "", 0, mentions(content))
        self.truth.messages.append(message)
        return web.Response(text="ok")

    def _webhook_refusal(self, path: str, content: object) -> tuple[int, str | None]:
        if not path.startswith(WEBHOOK.rpartition("/")[0] + "/"):
            return 404, "no_service"
        if path != WEBHOOK:
            return 403, "invalid_token"
        if self.channels["C0GENERAL"].archived:
            return 410, "channel_is_archived"
        if not isinstance(content, dict) or not isinstance(content.get("attachments", []), list):
            return 400, "invalid_payload"
        if not content.get("text") and not content.get("blocks") and not content.get("attachments"):
            return 400, "no_text"
        if len(content.get("attachments", [])) > 100:
            return 400, "too_many_attachments"
        if content.get("blocks") and block_error(content["blocks"]):
            return 400, "invalid_blocks"
        if self._wait("chat.postMessage", {"channel": "C0GENERAL"}):
            return 429, "ratelimited"
        return 200, None

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


_WEBHOOK_STATUS = {
    "invalid_payload": 400,
    "no_text": 400,
    "invalid_token": 403,
    "action_prohibited": 403,
    "no_service": 404,
    "channel_not_found": 404,
    "channel_is_archived": 410,
    "rollup_error": 500,
}


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
