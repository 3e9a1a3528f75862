"""Senders of alerts, and how a sender's own words become an alert's."""

from functools import cached_property, lru_cache
from typing import Literal

from pydantic import Field, field_validator

from schemas.control.record import DEFAULT_TENANT, Name, RateLimit, Record, SeverityName
from schemas.fingerprint import digest

SignaturePolicy = Literal["required", "if_secret_set", "off"]


class FieldMapping(Record):
    """How a generic webhook's JSON becomes an alert: dotted paths, `items.0.name` indexes a list.

    `severity_map` has the sender's own words, in any case, which come before the words everyone knows.
    """

    summary: str = "summary"
    severity: str = "severity"
    dedup_key: str = "dedup_key"
    action: str = "action"
    source: str = "source"
    trigger_values: tuple[str, ...] = ("trigger", "triggered", "firing", "alert", "open", "problem")
    resolve_values: tuple[str, ...] = ("resolve", "resolved", "ok", "closed", "recovered")
    acknowledge_values: tuple[str, ...] = ("acknowledge", "acknowledged", "ack")
    severity_map: dict[str, SeverityName] = Field(default_factory=dict, max_length=100)
    default_severity: SeverityName = "error"

    @field_validator("severity_map")
    @classmethod
    def _any_case(cls, words: dict[str, SeverityName]) -> dict[str, SeverityName]:
        return {word.strip().lower(): severity for word, severity in words.items()}

    @cached_property
    def wire(self) -> bytes:
        """What differs from the default mapping, as JSON; empty for the default. `mapping_of` reads it."""
        text = self.model_dump_json(exclude_defaults=True).encode()
        return b"" if text == b"{}" else text


@lru_cache(maxsize=1024)
def mapping_of(wire: bytes) -> FieldMapping:
    """The mapping that `FieldMapping.wire` tells. Raises pydantic's ValidationError for anything else."""
    return FieldMapping.model_validate_json(wire) if wire else FieldMapping()


class Integration(Record):
    """A sender. `id` is its key: 32 hex characters, in the URL, the Token header or `routing_key`.

    `signature` says when a request must be signed; None is the default of the route it comes in by.
    `rate_limit` counts requests a minute; None is the default of its type. `topic_arns` are the SNS topics it may be
    subscribed to; empty: any. `installation` stands for the installation that sends where keys of alerts count inside
    one only; empty: that of its key, and a rotation keeps it.
    """

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    tenant: Name = DEFAULT_TENANT
    name: str = Field(min_length=1, max_length=200)
    type: Name
    service: Name
    enabled: bool = True
    signature: SignaturePolicy | None = None
    signature_secret: str | None = Field(default=None, min_length=6, repr=False)
    rate_limit: RateLimit | None = None
    installation: str = Field(default="", pattern=r"^[0-9a-f]{0,32}$")
    topic_arns: tuple[str, ...] = Field(default=(), max_length=50)
    mapping: FieldMapping = FieldMapping()


def installation_of(key: str) -> str:
    """What stands for the installation behind an integration's first key: its digest, which opens nothing."""
    return digest(key).hex()


def masked_key(key: str) -> str:
    """An integration's key for people, logs and rows: the start that tells it from others, and opens nothing."""
    return f"{key[:6]}..."


def shown_sender(sender: str) -> str:
    """A sender's id for rows that people read: `apikey/<id>` as it is, an integration's key masked.

    >>> shown_sender("5f0c2a" + 26 * "0"), shown_sender("apikey/ci")
    ('5f0c2a...', 'apikey/ci')
    """
    return sender if sender.startswith("apikey/") else masked_key(sender)
