"""A workspace of Slack: its channels and tokens, what it refuses and accepts, and the truth about both."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sinks.fakes._slack_rules import MAX_UPDATE_TEXT, block_error, mentions

TOKEN = "xoxb-fake-token"  # noqa: S105 - of a workspace that does not exist
WEBHOOK = "/services/T0000000/B0000000/fake-webhook-key"
SCOPES = ("chat:write", "channels:read", "groups:read")
#: The scopes of which each method needs one.
_NEEDED = {
    "chat.postMessage": {"chat:write"},
    "chat.update": {"chat:write"},
    "conversations.list": {"channels:read", "groups:read"},
}
#: Requests a second and the burst that a bucket allows: a channel's messages, and the updates of a workspace.
MESSAGES = (1.0, 1.0)
UPDATES = (50 / 60, 50.0)
#: How much earlier than the rate a request may arrive, because the way to Slack is not equally long each time.
_JITTER_S = 0.1
#: The channel of the webhook.
_HOOKED = "C0GENERAL"
_MAX_ATTACHMENTS = 100


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
    #: The envelopes of Socket Mode that were acknowledged.
    acknowledged: list[str] = field(default_factory=list)
    #: What people saw in answer to a click.
    responses: list[Mapping[str, Any]] = field(default_factory=list)


class Workspace:
    """`script` are the errors of the next calls, `None` for what is right; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
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
        self._buckets: dict[str, tuple[float, float]] = {}
        self._count = 0

    def call(self, method: str, token: str, content: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
        """The answer to a call of the Web API, and the seconds to wait after `ratelimited`."""
        self.truth.received.append((method, content))
        error, wait = self.next_error() or self._refusal(method, token, content), 1.0
        if error is None and method.startswith("chat.") and (wait := self._wait(method, content)):
            error = "ratelimited"
        if error is not None:
            self.truth.refusals.append(error)
            return {"ok": False, "error": error}, wait
        self.truth.accepted += 1
        match method:
            case "chat.postMessage":
                return self._posted(content), 0.0
            case "chat.update":
                return self._updated(content), 0.0
            case _:
                return self._listed(content), 0.0

    def hook(self, path: str, content: object) -> tuple[int, str]:
        """The status and text of the answer to a webhook's request; 429 for one that is too early."""
        self.truth.received.append((path, content if isinstance(content, dict) else {}))
        if (error := self.next_error()) is not None:
            status = _HOOK_STATUS[error]
        else:
            status, error = self._hook_refusal(path, content)
        if error is not None:
            self.truth.refusals.append(error)
            return status, error
        assert isinstance(content, dict)
        self.truth.accepted += 1
        shown = [{"type": "attachment", **each} for each in content.get("attachments", [])]
        message = Posted(_HOOKED, self.stamp(), content.get("text", ""), shown, "", 0, mentions(content))
        self.truth.messages.append(message)
        return 200, "ok"

    def stamp(self) -> str:
        """A new time stamp of Slack's; no two are the same."""
        self._count += 1
        return f"{int(self.clock())}.{self._count:06d}"

    def next_error(self) -> str | None:
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
        per_second, burst = MESSAGES if method == "chat.postMessage" else UPDATES
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

    def _posted(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        ts = self.stamp()
        thread = str(content.get("thread_ts", ""))
        message = Posted(
            content["channel"], ts, content.get("text") or "", content.get("blocks") or [], thread, 0, mentions(content)
        )
        self.truth.messages.append(message)
        shown = {"type": "message", "text": message.text, "ts": ts, **({"thread_ts": thread} if thread else {})}
        return {"ok": True, "channel": message.channel, "ts": ts, "message": shown}

    def _updated(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        message = self._message(content)
        assert message is not None
        message.text, message.blocks = content.get("text") or "", content.get("blocks") or []
        message.edits += 1
        shown = {"type": "message", "text": message.text}
        return {"ok": True, "channel": message.channel, "ts": message.ts, "message": shown}

    def _listed(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
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
        return {"ok": True, "channels": rows, "response_metadata": {"next_cursor": cursor}}

    def _hook_refusal(self, path: str, content: object) -> tuple[int, str | None]:
        if not path.startswith(WEBHOOK.rpartition("/")[0] + "/"):
            return 404, "no_service"
        if path != WEBHOOK:
            return 403, "invalid_token"
        if self.channels[_HOOKED].archived:
            return 410, "channel_is_archived"
        if not isinstance(content, dict) or not isinstance(content.get("attachments", []), list):
            return 400, "invalid_payload"
        if not content.get("text") and not content.get("blocks") and not content.get("attachments"):
            return 400, "no_text"
        if len(content.get("attachments", [])) > _MAX_ATTACHMENTS:
            return 400, "too_many_attachments"
        if content.get("blocks") and block_error(content["blocks"]):
            return 400, "invalid_blocks"
        if self._wait("chat.postMessage", {"channel": _HOOKED}):
            return 429, "ratelimited"
        return 200, None


#: The HTTP status of each error of a webhook.
_HOOK_STATUS = {
    "invalid_payload": 400,
    "no_text": 400,
    "invalid_token": 403,
    "action_prohibited": 403,
    "no_service": 404,
    "channel_is_archived": 410,
    "ratelimited": 429,
    "rollup_error": 500,
}
