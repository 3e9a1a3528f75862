"""Destinations from environment variables (contract C108-C114): a sender starts without a file."""

from typing import Annotated, Literal

import pytest
from pydantic import ConfigDict, Field, HttpUrl

from schemas.control import Destination, Secret, SecretMark, control_key, dump
from schemas.settings import SettingsError
from sinks.channels.webhook import WebhookDestination, render
from sinks.contract import Channel, by_status
from streams.control import document
from streams.control.environment import destinations
from streams.control.state import Control
from tests.sinks.outbox_room import room
from tests.sinks.samples import notification, recording


class PostDestination(WebhookDestination):
    """A made-up channel: posts as webhooks do, with settings of several types."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["post"] = "post"  # type: ignore[assignment]
    url: HttpUrl
    port: int = Field(default=1, ge=1, le=65_535)
    token: Secret
    note: Annotated[str, SecretMark()] = ""


POST = Channel(
    slug="post",
    title="Post",
    settings=PostDestination,
    render=render,
    classify=by_status,
    setup=("None.",),
    examples={},
    environment={"POST_URL": "url", "POST_PORT": "port", "POST_TOKEN": "token", "POST_NOTE": "note"},
    required=("POST_URL", "POST_TOKEN"),
)
ENVIRON = {"POST_URL": "https://post.example.com", "POST_TOKEN": "geheim", "POST_PORT": "25", "PATH": "/bin"}
KEY = "destination/default/post"


def test_variables_make_a_destination() -> None:
    """It has the channel's slug as its id, and the variables' values in their own types."""
    [(key, record)] = destinations(ENVIRON, [POST]).items()
    assert isinstance(record, PostDestination)
    assert (key, record.id, record.tenant, record.enabled) == (KEY, "post", "default", True)
    assert (str(record.url), record.port, record.token) == ("https://post.example.com/", 25, "geheim")


@pytest.mark.parametrize("missing", ["POST_URL", "POST_TOKEN"])
@pytest.mark.parametrize("empty", [True, False])
def test_without_a_required_variable_there_is_none(missing: str, empty: bool) -> None:
    """A required variable that is not set, or is empty, is no error: other programs use such variables too."""
    environ = {**ENVIRON, missing: ""} if empty else {k: v for k, v in ENVIRON.items() if k != missing}
    assert destinations(environ, [POST]) == {}


def test_a_channel_without_variables_makes_none() -> None:
    """The real channels of this process make nothing of an environment without their variables."""
    assert destinations({"PATH": "/bin"}) == {}


def test_a_wrong_value_is_named_by_its_variable() -> None:
    """The error names the variable, says what is needed, and shows no value."""
    with pytest.raises(SettingsError, match=r"^POST_PORT: Input should be less than or equal to 65535$") as caught:
        destinations({**ENVIRON, "POST_PORT": "70000"}, [POST])
    assert "geheim" not in str(caught.value)
    assert "70000" not in str(caught.value)


def _webhook(url: str) -> Destination:
    return WebhookDestination.model_validate({"id": "ops", "url": url})


def test_a_record_on_the_topic_takes_its_place() -> None:
    """Until it is deleted; the topic's records are still only those of the topic."""
    ours, theirs = _webhook("https://environment.example.com"), _webhook("https://topic.example.com")
    key = control_key(ours)
    control = Control(environment={key: ours})
    assert control.destination("default", "ops") == ours
    assert control.records == {}
    assert control.apply(key, dump(theirs)) is None
    assert control.destination("default", "ops") == theirs
    assert control.apply(key, b"{}") is not None
    assert control.destination("default", "ops") == theirs
    assert control.apply(key, None) is None
    assert control.destination("default", "ops") == ours
    assert control.records == {}


def test_rules_may_route_to_it() -> None:
    """A file without destinations may name one of the environment, and none other."""
    control = Control(environment={"destination/default/ops": _webhook("https://environment.example.com")})
    declared = document.load("rules: [{id: all, match: [], route: [ops]}]")
    document.check(declared, {**control.environment, **control.records})
    with pytest.raises(document.ConfigurationError, match=r"rules.0.route.0: no destination 'ops'"):
        document.check(declared, control.records)


async def test_an_environment_alone_sends() -> None:
    """Nothing is on the topic, and a notification for the destination is delivered."""
    async with recording() as server:
        control = Control(environment={"destination/default/ops": _webhook(server.url)})
        async with room(control) as opened:
            opened.take(notification())
            await opened.ended(1)
    assert opened.ends == [("delivered", "")]
    assert len(server.requests) == 1
