"""Integrations (senders of alerts), and how a sender's own fields and words are mapped to those of an alert."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from schemas.control.destination import SecretMark
from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, RateLimit, Record, Reference, SeverityName
from schemas.fingerprint import digest

SignaturePolicy = Literal["required", "if_secret_set", "off"]


class FieldMapping(Record):
    """How a generic webhook's JSON becomes an alert. Fields are dotted paths; `items.0.name` indexes a list.

    `severity_map` maps the sender's own severity words, in any case, and is read before schemas.wire.severity.
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
    """The mapping that `FieldMapping.wire` wrote. Raises pydantic's ValidationError for anything else."""
    return FieldMapping.model_validate_json(wire) if wire else FieldMapping()


class Integration(AnyRecord):
    """A sender. `id` is its key: 32 hex characters, in the URL, the Token header or `routing_key`.

    `signature` says when a request must be signed; None means the default of the request's route.
    `rate_limit` is in requests a minute; None means the default of the type. `topic_arns` are the SNS topics it may
    be subscribed to; empty means any. `installation` identifies the sending installation, for tools whose alert keys
    are unique within one installation only; empty means `installation_of(id)`. A rotation of the key keeps it.
    """

    per_tenant: ClassVar[bool] = False

    id: str = Field(pattern=r"^[0-9a-f]{32}$", repr=False)
    tenant: Name = DEFAULT_TENANT
    name: str = Field(min_length=1, max_length=200)
    type: Name
    service: Name
    enabled: bool = True
    signature: SignaturePolicy | None = None
    signature_secret: Annotated[str | None, SecretMark()] = Field(default=None, min_length=6, repr=False)
    rate_limit: RateLimit | None = None
    installation: str = Field(default="", pattern=r"^[0-9a-f]{0,32}$")
    topic_arns: tuple[str, ...] = Field(default=(), max_length=50)
    mapping: FieldMapping = FieldMapping()

    def references(self) -> Iterator[Reference]:
        """The service that its alerts are about."""
        yield Reference("service", "service", self.service)

    @cached_property
    def own_installation(self) -> str:
        """The identifier of the sending installation: `installation`, or that of the key."""
        return self.installation or installation_of(self.id)


def installation_of(key: str) -> str:
    """The identifier of the installation behind an integration's first key: a digest, useless as a credential."""
    return digest(key).hex()


def masked_key(key: str) -> str:
    """An integration's key as logs, rows and people see it: its start, which identifies it but is no credential."""
    return f"{key[:6]}..."


def shown_sender(sender: str) -> str:
    """A sender's id for rows that people read: an integration's key masked, all others unchanged.

    >>> shown_sender("5f0c2a" + 26 * "0"), shown_sender("apikey/ci")
    ('5f0c2a...', 'apikey/ci')
    """
    return sender if sender.startswith(("apikey/", "heartbeat/")) else masked_key(sender)
