"""What Slack refuses in a message, by the models of slack_sdk and by the limits that Slack documents.

https://docs.slack.dev/reference/methods/chat.postMessage#errors , https://docs.slack.dev/reference/block-kit/blocks
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

MAX_BLOCKS = 50
MAX_FIELD = 2_000
MAX_ALL_BLOCKS = 13_200
#: `chat.update`: bytes of the text as it is sent, after escaping.
MAX_UPDATE_TEXT = 4_000
_MARKUP_MENTION = re.compile(r"<(?:!(?:channel|here|everyone)|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)(?:\|[^>]*)?>")
_NAME_MENTION = re.compile(r"@(?:channel|here|everyone)\b")


def block_error(blocks: object) -> str | None:
    """Slack's error for these blocks, None if it takes them."""
    if not isinstance(blocks, list) or len(blocks) > MAX_BLOCKS:
        return "invalid_blocks"
    if not all(_is_valid(block) for block in blocks):
        return "invalid_blocks"
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(set(ids)) < len(ids):
        return "invalid_blocks"
    if sum(map(_units, texts(blocks))) > MAX_ALL_BLOCKS:
        return "msg_blocks_too_long"
    return None


def texts(content: object) -> Iterable[str]:
    """The text of every text object in blocks."""
    if isinstance(content, list):
        for each in content:
            yield from texts(each)
    elif isinstance(content, Mapping):
        if content.get("type") in ("mrkdwn", "plain_text") and isinstance(content.get("text"), str):
            yield content["text"]
        else:
            yield from texts(list(content.values()))


def mentions(message: Mapping[str, Any]) -> list[str]:
    """Whom a new message notifies: by markup, and by name where Slack looks for names."""
    text = str(message.get("text", ""))
    found = _MARKUP_MENTION.findall(text)
    if message.get("parse") == "full" or message.get("link_names"):
        found += _NAME_MENTION.findall(text)
    for element in _markups(message.get("blocks", [])):
        found += _MARKUP_MENTION.findall(element["text"])
        if not element.get("verbatim"):
            found += _NAME_MENTION.findall(element["text"])
    for string in _strings(message.get("attachments", [])):
        found += _MARKUP_MENTION.findall(string)
    return sorted(set(found))


def _is_valid(block: object) -> bool:
    try:
        parsed = Block.parse(block) if isinstance(block, dict) and isinstance(block.get("type"), str) else None
        if parsed is None:
            return False
        parsed.to_dict()
    except (SlackObjectFormationError, TypeError, AttributeError, KeyError):
        return False
    # slack_sdk counts characters and does not look at these; Slack's documentation gives the numbers.
    assert isinstance(block, dict)
    match block["type"]:
        case "header":
            return isinstance(block.get("text"), dict) and 0 < _units(block["text"].get("text", "")) <= 150
        case "section":
            fields = list(texts(block.get("fields", [])))
            body = list(texts(block.get("text", {})))
            return all(0 < _units(text) <= 3_000 for text in body) and all(0 < _units(f) <= MAX_FIELD for f in fields)
        case "actions":
            ids = [element.get("action_id") for element in block.get("elements", [])]
            return len(ids) > 0 and len(set(ids)) == len(ids)
    return True


def _markups(content: object) -> Iterable[Mapping[str, Any]]:
    if isinstance(content, list):
        for each in content:
            yield from _markups(each)
    elif isinstance(content, Mapping):
        if content.get("type") == "mrkdwn":
            yield content
        else:
            yield from _markups(list(content.values()))


def _strings(content: object) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping | list):
        for each in content.values() if isinstance(content, Mapping) else content:
            yield from _strings(each)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
