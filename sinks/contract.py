"""What a channel declares about itself; the engine, forms, docs and contract tests read only this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.control import Destination
from schemas.wire.notification import Notification, Outcome
from sinks.outbound import Answer


class RenderError(ValueError):
    """The destination's settings cannot make a request; the text is a short reason without any value."""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST. Nothing of it is shown: URL, headers and body may all carry secrets."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Verdict(NamedTuple):
    """How an attempt ended: delivered, retry or failed, and a short reason of ours ("" if delivered)."""

    outcome: Outcome
    reason: str = ""


class Field(NamedTuple):
    """One setting of a destination, as a form shows it. `name` is a field of schemas.control.Destination."""

    name: str
    title: str
    required: bool = False
    secret: bool = False


class Render(Protocol):
    """Makes the request; pure. `now` is milliseconds since 1970 UTC. Raises RenderError."""

    def __call__(self, notification: Notification, destination: Destination, base_url: str, now: int) -> Request: ...


class Classify(Protocol):
    """Judges the answer; pure."""

    def __call__(self, answer: Answer) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to tell people. `slug` is its module's name and a destination's `type`."""

    slug: str
    title: str
    fields: tuple[Field, ...]
    render: Render
    classify: Classify
