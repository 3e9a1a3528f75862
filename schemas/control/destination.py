"""Where notifications go: what all destinations have in common, and the marks of their secrets.

Each channel has its own settings, a subclass in its own file (sinks/channels) with `type` as a Literal; a record is
validated by the model of its type (streams.control.kinds). This base reads what every destination has and nothing else.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl

from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Reference


class SecretMark:
    """Marks a field whose value is shown to nobody and is encrypted on the topic `control`.

    `url` marks a URL of which the host may be shown: its path or query is the credential. `hashed` marks the hash of a
    random key, which is stored as it is because nobody can compute the key from it.
    """

    def __init__(self, *, url: bool = False, hashed: bool = False) -> None:
        self.url = url
        self.hashed = hashed


class AddressMark:
    """Marks a part of the address to which the record's secrets are sent. A URL is one without a mark."""


def _plain_headers(headers: object) -> object:
    """The headers as they are. Raises ValueError, which names no header whose name may hold a secret: `Bearer abc:`."""
    if not isinstance(headers, dict):
        raise ValueError("headers are a mapping of names to texts")
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name):
            raise ValueError("a header's name has 1 to 100 letters, digits and hyphens")
        if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]{0,1000}", value):
            raise ValueError("a header's value is a text of up to 1000 printable ASCII characters, a number in quotes")
    return headers


Secret = Annotated[str, Field(min_length=1, max_length=4_096, repr=False), SecretMark()]
SecretUrl = Annotated[HttpUrl, Field(repr=False), SecretMark(url=True)]
SecretHeaders = Annotated[dict[str, str], Field(repr=False), BeforeValidator(_plain_headers), SecretMark()]


class Destination(AnyRecord):
    """Where notifications go. The descriptions of its fields, and of every channel's own, are their documentation."""

    model_config = ConfigDict(extra="ignore")

    id: Name = Field(description="The name that rules route to.")
    tenant: Name = Field(default=DEFAULT_TENANT, description="The tenant whose incidents it hears of.")
    type: Name = Field(default="webhook", description="The channel.")
    name: str = Field(default="", max_length=200, description="A name for people.")
    enabled: bool = Field(default=True, description="A disabled destination keeps what waits for it.")
    fallback: Name | None = Field(default=None, description="The destination that gets what this one gives up.")
    unseen_resolved: Literal["send", "skip"] = Field(
        default="send",
        description="For an incident that resolved before its first message left: send one message that tells both, "
        "or skip it.",
    )
    digest_after: int = Field(
        default=60,
        ge=0,
        le=86_400,
        description="When more waits than can be sent in so many seconds, one summary replaces many messages, if the "
        "channel has summaries; 0 means never.",
    )

    def references(self) -> Iterator[Reference]:
        """The destination that stands in for it."""
        if self.fallback is not None:
            yield Reference("fallback", "destination", self.fallback)


def addresses_of(record: AnyRecord) -> dict[str, object]:
    """Where a record's secrets are sent, by field: of a URL the scheme, host and port."""
    found: dict[str, object] = {}
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if isinstance(value, HttpUrl):
            found[name] = value.scheme, value.host, value.port
        elif any(isinstance(mark, AddressMark) for mark in field.metadata):
            found[name] = value
    return found


def secrets_of(model: type[BaseModel]) -> dict[str, SecretMark]:
    """The marked fields of a record's model."""
    return {
        name: mark
        for name, field in model.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, SecretMark)
    }
