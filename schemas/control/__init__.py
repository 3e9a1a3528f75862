"""The configuration, as records of the compacted topic `control`: `kind/id` -> JSON. Each kind has its own file."""

from collections.abc import Mapping

import orjson

from schemas.control.account import Account, RoleName, Token
from schemas.control.apikey import ApiKey
from schemas.control.calendar import Calendar
from schemas.control.destination import (
    AddressMark,
    Destination,
    Secret,
    SecretHeaders,
    SecretMark,
    SecretUrl,
    addresses_of,
    secrets_of,
)
from schemas.control.escalation import Escalation, Step
from schemas.control.heartbeat import Heartbeat
from schemas.control.inhibition import Inhibition
from schemas.control.integration import (
    FieldMapping,
    Integration,
    SignaturePolicy,
    installation_of,
    mapping_of,
    masked_key,
    shown_sender,
)
from schemas.control.lookup import Lookup
from schemas.control.notify import Notify
from schemas.control.period import Period
from schemas.control.quiet import QuietHours
from schemas.control.record import (
    DEFAULT_RATE_LIMIT,
    DEFAULT_TENANT,
    AnyRecord,
    Name,
    RateLimit,
    Record,
    Reference,
    SeverityName,
    describe,
)
from schemas.control.recurrence import Recurrence
from schemas.control.route import Route
from schemas.control.rule import Rule
from schemas.control.schedule import Layer, Override, Schedule
from schemas.control.service import DEFAULT_WINDOW_S, Correlation, Service
from schemas.control.silence import Maintenance, Silence
from schemas.control.sla import SlaTarget
from schemas.control.storm import Storm
from schemas.control.tenant import Tenant
from schemas.control.user import Contact, Urgency, User

__all__ = [
    "DEFAULT_RATE_LIMIT",
    "DEFAULT_TENANT",
    "DEFAULT_WINDOW_S",
    "KINDS",
    "Account",
    "AddressMark",
    "AnyRecord",
    "ApiKey",
    "Calendar",
    "Contact",
    "Correlation",
    "Destination",
    "Escalation",
    "FieldMapping",
    "Heartbeat",
    "Inhibition",
    "Integration",
    "Layer",
    "Lookup",
    "Maintenance",
    "Name",
    "Notify",
    "Override",
    "Period",
    "QuietHours",
    "RateLimit",
    "Record",
    "Recurrence",
    "Reference",
    "RoleName",
    "Route",
    "Rule",
    "Schedule",
    "Secret",
    "SecretHeaders",
    "SecretMark",
    "SecretUrl",
    "Service",
    "SeverityName",
    "SignaturePolicy",
    "Silence",
    "SlaTarget",
    "Step",
    "Storm",
    "Tenant",
    "Token",
    "Urgency",
    "User",
    "addresses_of",
    "control_key",
    "describe",
    "dump",
    "installation_of",
    "kind_of",
    "mapping_of",
    "masked_key",
    "secrets_of",
    "shown_sender",
]

#: Kinds that others refer to come first.
KINDS: Mapping[str, type[AnyRecord]] = {
    "tenant": Tenant,
    "calendar": Calendar,
    "service": Service,
    "destination": Destination,
    "user": User,
    "schedule": Schedule,
    "override": Override,
    "escalation": Escalation,
    "integration": Integration,
    "lookup": Lookup,
    "rule": Rule,
    "route": Route,
    "silence": Silence,
    "maintenance": Maintenance,
    "inhibition": Inhibition,
    "heartbeat": Heartbeat,
    "apikey": ApiKey,
    "account": Account,
    "token": Token,
}


def kind_of(record: AnyRecord) -> str:
    """The kind of a record."""
    return next(kind for kind, model in KINDS.items() if isinstance(record, model))


def control_key(record: AnyRecord) -> str:
    """The record's key on the topic: `kind/id`, or `kind/tenant/id` where ids are per tenant."""
    scope = f"{record.owner}/" if record.per_tenant else ""
    return f"{kind_of(record)}/{scope}{record.id}"


def dump(record: AnyRecord, sealed: Mapping[str, object] | None = None) -> bytes:
    """The record's value on the topic: JSON with sorted keys, so that equal records have equal bytes.

    `sealed` are fields to write in place of the record's own (streams.control.secrets).
    """
    return orjson.dumps(record.model_dump(mode="json") | dict(sealed or {}), option=orjson.OPT_SORT_KEYS)
