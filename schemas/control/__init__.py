"""The configuration, as records of the compacted topic `control`: `kind/id` -> JSON. Each kind has its own file."""

from collections.abc import Mapping

import orjson

from schemas.control.apikey import ApiKey
from schemas.control.destination import Destination, Secret, SecretHeaders, SecretMark, SecretUrl, secrets_of
from schemas.control.integration import (
    FieldMapping,
    Integration,
    SignaturePolicy,
    installation_of,
    mapping_of,
    masked_key,
    shown_sender,
)
from schemas.control.notify import Notify
from schemas.control.quiet import QuietHours
from schemas.control.record import (
    DEFAULT_RATE_LIMIT,
    DEFAULT_TENANT,
    Name,
    RateLimit,
    Record,
    SeverityName,
    describe,
)
from schemas.control.rule import Rule
from schemas.control.service import DEFAULT_WINDOW_S, Correlation, Service
from schemas.control.tenant import Tenant

__all__ = [
    "DEFAULT_RATE_LIMIT",
    "DEFAULT_TENANT",
    "DEFAULT_WINDOW_S",
    "KINDS",
    "AnyRecord",
    "ApiKey",
    "Correlation",
    "Destination",
    "FieldMapping",
    "Integration",
    "Name",
    "Notify",
    "QuietHours",
    "RateLimit",
    "Record",
    "Rule",
    "Secret",
    "SecretHeaders",
    "SecretMark",
    "SecretUrl",
    "Service",
    "SeverityName",
    "SignaturePolicy",
    "Tenant",
    "control_key",
    "describe",
    "dump",
    "installation_of",
    "mapping_of",
    "masked_key",
    "secrets_of",
    "shown_sender",
]

KINDS: Mapping[str, type[Record]] = {
    "tenant": Tenant,
    "service": Service,
    "integration": Integration,
    "destination": Destination,
    "rule": Rule,
    "apikey": ApiKey,
}
AnyRecord = Tenant | Service | Integration | Destination | Rule | ApiKey


def control_key(record: AnyRecord) -> str:
    """The record's key on the topic, `kind/id`; services, destinations and rules are per tenant."""
    kind = next(kind for kind, model in KINDS.items() if isinstance(record, model))
    scope = "" if isinstance(record, Tenant | Integration | ApiKey) else f"{record.tenant}/"
    return f"{kind}/{scope}{record.id}"


def dump(record: AnyRecord, sealed: Mapping[str, object] | None = None) -> bytes:
    """The record's value on the topic: JSON with sorted keys, so that equal records have equal bytes.

    `sealed` are fields to write in place of the record's own (streams.control.secrets).
    """
    return orjson.dumps(record.model_dump(mode="json") | dict(sealed or {}), option=orjson.OPT_SORT_KEYS)
