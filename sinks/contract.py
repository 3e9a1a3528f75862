"""The declaration of a channel. The engine, forms, docs and contract tests read nothing else of a channel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.control import Destination
from schemas.wire.notification import Notification, Outcome
from sinks.outbound import Answer


class RenderError(ValueError):
    """The destination's settings do not allow a request; the text is a short reason without any setting's value."""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST. Its repr is empty: URL, headers and body may all contain secrets."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Verdict(NamedTuple):
    """How an attempt ended: delivered, retry or failed, and a short reason by Stormweir ("" if delivered)."""

    outcome: Outcome
    reason: str = ""


class Field(NamedTuple):
    """One setting of a destination, as forms show it. `name` is a field of schemas.control.Destination."""

    name: str
    title: str
    required: bool = False
    secret: bool = False


class Render(Protocol):
    """Builds the request; pure. `now` is milliseconds since 1970 UTC. Raises RenderError."""

    def __call__(self, notification: Notification, destination: Destination, base_url: str, now: int) -> Request: ...


class Classify(Protocol):
    """Derives the verdict from the answer; pure."""

    def __call__(self, answer: Answer) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to notify people. `slug` is the name of its module and the `type` of its destinations."""

    slug: str
    title: str
    fields: tuple[Field, ...]
    render: Render
    classify: Classify
