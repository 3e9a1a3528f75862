"""The channels of a workspace, page by page: https://docs.slack.dev/reference/methods/conversations.list ."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import orjson

from sinks.channels.slack import HELP, SlackDestination, classify
from sinks.contract import COMMON_HELP, End
from sinks.outbound import Answer
from streams.process.errors import OperatorError

#: Channels a page, and pages: more channels than this nobody chooses from a list.
PAGE = 200
MAX_PAGES = 200
_TRIES = 5
_WAIT_S = 3.0


class Client(Protocol):
    """The part of sinks.outbound.Outbound that is used here."""

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer: ...


class SlackChannel(NamedTuple):
    """A channel that the bot can see; it posts to those that it is a `member` of."""

    id: str
    name: str
    private: bool
    member: bool


async def listed(
    client: Client, destination: SlackDestination, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> list[SlackChannel]:
    """Every channel that is not archived, by name. Raises OperatorError with what Slack says and what to do."""
    found: list[SlackChannel] = []
    cursor = ""
    for _ in range(MAX_PAGES):
        body = await _page(client, destination, cursor, sleep)
        found += [
            SlackChannel(each["id"], each["name"], bool(each.get("is_private")), bool(each.get("is_member")))
            for each in body.get("channels", [])
        ]
        cursor = (body.get("response_metadata") or {}).get("next_cursor", "")
        if not cursor:
            break
    return sorted(found, key=lambda each: each.name)


async def _page(
    client: Client, destination: SlackDestination, cursor: str, sleep: Callable[[float], Awaitable[None]]
) -> dict[str, Any]:
    query = {"types": "public_channel,private_channel", "exclude_archived": "true", "limit": PAGE, "cursor": cursor}
    url = f"{str(destination.api_url).rstrip('/')}/conversations.list?{urlencode(query)}"
    for _ in range(_TRIES):
        answer = await client.get(url, {"Authorization": f"Bearer {destination.bot_token}"})
        verdict = classify(answer)
        if verdict.end is End.DONE:
            body: dict[str, Any] = orjson.loads(answer.body)
            return body
        if verdict.end is End.REFUSED:
            break
        await sleep(min(verdict.retry_after_s or _WAIT_S, 60.0))
    help_ = HELP.get(verdict.reason) or COMMON_HELP[verdict.reason]
    raise OperatorError(f"{verdict.reason}: {help_.means} {help_.do}")
