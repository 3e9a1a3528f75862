"""A message that says why it is sent says so in every channel."""

import msgspec
import orjson
import pytest

from sinks import events_v2, mail_text
from sinks.channels import teams
from sinks.channels._slack_card import card
from sinks.contract import Message
from sinks.render import body
from tests.sinks.samples import message, notification
from tests.sinks.test_teams import settings

NOTE = "silence/quiet is over; open incidents that it hid: 3"


def noted(note: str = NOTE) -> Message:
    """A message with a note."""
    return message(msgspec.structs.replace(notification(), note=note))


@pytest.mark.parametrize("note", ["", NOTE])
def test_every_channel_says_it(note: str) -> None:
    """The note as it is, and nothing in its place if there is none."""
    one = noted(note)
    [event] = events_v2.events(one, "key")
    assert orjson.loads(event)["payload"]["custom_details"].get("note", "") == note
    assert orjson.loads(body("stormweir-v1", one))["note"] == note
    assert [each["text"]["text"] for each in card(one, buttons=False) if each["block_id"] == "note"] == [NOTE][
        : bool(note)
    ]
    mail = mail_text.of_message(one)
    assert ((NOTE in mail.text), (NOTE in mail.html)) == (bool(note), bool(note))
    [request] = teams.render(one, settings(), "")
    assert (NOTE.encode() in request.body) == bool(note)
