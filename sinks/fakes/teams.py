"""A workflow of Microsoft Teams: `POST /workflow?sig=<SIG>` answers like Power Automate, and then runs.

`/_seen` has what was `received`, the `runs` with their end, and the `posts` that people see: their text, the links that
can be clicked, and who was mentioned. A message that is too large, or whose card Teams cannot show, is answered 202 all
the same; only its run fails. https://learn.microsoft.com/connectors/teams, https://adaptivecards.io/explorer
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web

SIG = "good"
_MAX_BYTES = 28 * 1024
_PER_MINUTE = 100
_CARD = "application/vnd.microsoft.card.adaptive"
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
_MENTION = re.compile(r"<at>(.*?)</at>")
_COLOURS = {"Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"}
#: What an element must have, and what else it may have (Adaptive Cards 1.5, the part that alerts use).
_SHAPES: Mapping[str, tuple[set[str], set[str]]] = {
    "AdaptiveCard": ({"version", "body"}, {"$schema", "actions", "msteams", "fallbackText", "speak", "lang"}),
    "TextBlock": ({"text"}, {"wrap", "size", "weight", "color", "isSubtle", "maxLines", "spacing", "separator"}),
    "RichTextBlock": ({"inlines"}, {"spacing", "separator", "horizontalAlignment"}),
    "TextRun": (
        {"text"},
        {"size", "weight", "color", "isSubtle", "italic", "highlight", "underline", "fontType", "selectAction"},
    ),
    "FactSet": ({"facts"}, {"spacing", "separator"}),
    "Container": ({"items"}, {"style", "spacing", "separator"}),
    "Action.OpenUrl": ({"url"}, {"title", "iconUrl", "style", "tooltip"}),
}


class RunError(Exception):
    """Why a run failed."""


class Workflow:
    """A workflow and its channel. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: deque[float] = deque()
        self.received: list[Any] = []
        self.limited = 0
        self.runs: list[dict[str, Any]] = []
        self.posts: list[dict[str, Any]] = []

    async def trigger(self, request: web.Request) -> web.Response:
        """One message."""
        body = await request.read()
        if request.query.get("sig") != SIG:
            return _error(401, "DirectApiAuthorizationRequired", "The request must be authenticated.")
        if self._over():
            self.limited += 1
            return _error(429, "WorkflowTriggerThrottled", "Rate limit is exceeded.", {"Retry-After": "10"})
        try:
            message = json.loads(body)
        except ValueError:
            return _error(400, "InvalidRequestContent", "The request content is not JSON.")
        self.received.append(message)
        if not _is_message(message):
            return _error(400, "TriggerInputSchemaMismatch", "The input body does not match the schema.")
        try:
            if len(body) > _MAX_BYTES:
                raise RunError("RequestEntityTooLarge")
            cards = [attachment["content"] for attachment in message["attachments"]]
            for card in cards:
                _check(card, "AdaptiveCard")
                if tuple(map(int, card["version"].split("."))) > (1, 5):
                    raise RunError("the card's version is not supported")
            self.posts += map(_seen, cards)
            self.runs.append({"status": "Succeeded"})
        except RunError as error:
            self.runs.append({"status": "Failed", "error": str(error)})
        return web.Response(status=202)

    async def seen(self, request: web.Request) -> web.Response:
        """What is known."""
        names = ("received", "limited", "runs", "posts")
        return web.json_response({name: getattr(self, name) for name in names})

    def _over(self) -> bool:
        now = self._clock()
        while self._times and self._times[0] <= now - 60:
            self._times.popleft()
        if len(self._times) >= _PER_MINUTE:
            return True
        self._times.append(now)
        return False


def _error(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": text}}, status=status, headers=headers)


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or message.get("type") != "message":
        return False
    attachments = message.get("attachments")
    return (
        isinstance(attachments, list)
        and bool(attachments)
        and all(
            isinstance(each, dict) and each.get("contentType") == _CARD and isinstance(each.get("content"), dict)
            for each in attachments
        )
    )


def _check(element: Any, expected: str = "") -> None:
    """Raise RunError if Teams cannot show the element."""
    kind = element.get("type") if isinstance(element, dict) else None
    shape = _SHAPES.get(str(kind))
    if shape is None or (expected and kind != expected):
        raise RunError(f"{kind} is no element that is shown here")
    needed, further = shape
    if needed - element.keys() or element.keys() - needed - further - {"type"}:
        raise RunError(f"{kind} has not the properties of one")
    if "text" in element and (not isinstance(element["text"], str) or not element["text"]):
        raise RunError(f"{kind} has no text")
    if element.get("color", "Default") not in _COLOURS:
        raise RunError("there is no such colour")
    if kind == "Action.OpenUrl" and not re.match("https?://", element["url"]):
        raise RunError("the address is not one of the web")
    if element.get("style") in ("positive", "destructive"):
        raise RunError("Teams has no such style")
    for child in _children(element):
        _check(child)


def _children(element: Mapping[str, Any]) -> Iterator[Any]:
    for name in ("body", "actions", "inlines", "items"):
        yield from element.get(name, ())
    if "selectAction" in element:
        yield element["selectAction"]


def _seen(card: Mapping[str, Any]) -> dict[str, Any]:
    """What people see: Markdown is read in text blocks and facts, and nowhere else."""
    lines: list[str] = []
    links: list[str] = []

    def marked(text: str) -> str:
        links.extend(found[2] for found in _LINK.finditer(text))
        return _LINK.sub(r"\1", text)

    def visit(element: Mapping[str, Any]) -> None:
        match element["type"]:
            case "TextBlock":
                lines.append(marked(element["text"]))
            case "RichTextBlock":
                lines.append("".join(run["text"] for run in element["inlines"]))
            case "FactSet":
                lines.extend(f"{fact['title']} {marked(fact['value'])}" for fact in element["facts"])
            case "Action.OpenUrl":
                links.append(element["url"])
        for child in _children(element):
            visit(child)

    visit(card)
    entities = card.get("msteams", {}).get("entities", [])
    mentions = [each.get("text") for each in entities if _MENTION.fullmatch(str(each.get("text")))]
    return {"text": "\n".join(lines), "links": links, "mentions": mentions}


def application(clock: Callable[[], float] = time.monotonic) -> web.Application:
    """The vendor; `clock` gives seconds."""
    vendor = Workflow(clock)
    app = web.Application(client_max_size=1_000_000)
    app.add_routes([web.post("/workflow", vendor.trigger), web.get("/_seen", vendor.seen)])
    return app
