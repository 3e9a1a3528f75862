"""Clicks on the buttons of a card: what they command, and what the person who clicked is told.

https://docs.slack.dev/interactivity/handling-user-interaction ,
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
"""

from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec
import orjson

from schemas.fingerprint import digest
from schemas.wire.command import MAX_ACTOR, Command, CommandAction, CommandEnd, CommandResult
from schemas.wire.subject import Subject
from sinks.slack_text import escaped

_DONE = {CommandAction.ACKNOWLEDGE: "Acknowledged", CommandAction.RESOLVE: "Resolved"}
#: What is told when the command could not be put on Kafka.
NOT_TAKEN = "Stormweir could not take this click. Please try again in a minute."
_MAX_NAME = 80
_MAX_TITLE = 200


class Click(NamedTuple):
    """A command by a click; `response_url` is where Slack takes what the person is told."""

    command: Command
    response_url: str


class _User(msgspec.Struct, frozen=True):
    id: str
    username: str = ""


class _Team(msgspec.Struct, frozen=True):
    id: str = ""


class _Container(msgspec.Struct, frozen=True):
    channel_id: str = ""
    message_ts: str = ""


class _Action(msgspec.Struct, frozen=True):
    action_id: str = ""
    action_ts: str = ""
    value: str = ""


class _Payload(msgspec.Struct, frozen=True):
    type: str
    user: _User
    actions: list[_Action] = []
    team: _Team | None = None
    container: _Container = _Container()
    response_url: str = ""


_payload = msgspec.json.Decoder(_Payload)


def read(body: bytes, at: int) -> Click | None:
    """The click in the body of a signed request that came `at` (ms); None if it commands nothing, such as a link.

    A copy of the request gives the same command id. Raises ValueError for a body that is no interaction of Slack.
    """
    form = parse_qs(body.decode(), max_num_fields=10)
    return of_payload(form.get("payload", [""])[0].encode(), at)


def of_payload(content: bytes, at: int) -> Click | None:
    """The click in a payload (JSON), as `read`."""
    payload = _payload.decode(content)
    action = next((each for each in payload.actions if each.action_id in _DONE), None)
    if payload.type != "block_actions" or action is None:
        return None
    subject = Subject.read(action.value)
    team = payload.team.id if payload.team is not None else ""
    place, user, name = payload.container, _shown(payload.user.id), _shown(payload.user.username)
    command = Command(
        command_id=digest(
            team, place.channel_id, place.message_ts, payload.user.id, action.action_id, action.action_ts, action.value
        ),
        tenant=subject.tenant,
        incident_id=subject.incident_id,
        correlation_key=subject.correlation_key,
        action=CommandAction(action.action_id),
        actor=(f"slack:{user} ({name})" if name else f"slack:{user}")[:MAX_ACTOR],
        at=at,
    )
    return Click(command, payload.response_url)


def _shown(text: str) -> str:
    """A name for the timeline."""
    return "".join(character for character in text if character.isprintable())[:_MAX_NAME]


def told(action: CommandAction, result: CommandResult) -> str:
    """What the person who clicked reads, as Slack's markup."""
    title = escaped(result.title, _MAX_TITLE)
    about = f": {title}" if title else "."
    match result.end:
        case CommandEnd.DONE:
            return f"{_DONE[action]}{about}"
        case CommandEnd.ALREADY:
            return f"Already done: the incident is {escaped(result.status, _MAX_NAME) or 'in that state'}{about}"
        case CommandEnd.NOT_FOUND:
            return "There is no such open incident any more."
        case CommandEnd.PENDING:
            return f"Taken, it takes effect in a moment{about}"


def response(text: str) -> bytes:
    """The body for a `response_url`: only the person who clicked sees it, and the card stays as it is."""
    return orjson.dumps({"response_type": "ephemeral", "replace_original": False, "text": text})
