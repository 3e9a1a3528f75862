"""Rules: what is changed or decided for the alerts that match."""

from typing import Annotated

from pydantic import Field

from schemas.control.quiet import QuietHours
from schemas.control.record import DEFAULT_TENANT, Name, Record, SeverityName

#: Whom a message mentions, in the words of the channel: a user's or a group's id, `@channel`, `@here`.
Mention = Annotated[str, Field(pattern=r"^@?[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$")]


class Rule(Record):
    """One rule. Rules are tried by `order`, then by id; every rule whose matchers all hold is applied.

    `match` lines are Alertmanager matchers (`severity="info"`, `service=~"pay.*"`, `labels.env!="prod"`).
    `route` adds destinations; messages to them carry the rule's `mentions`, and `quiet_hours` are theirs.
    `suppress` ends the alert as suppressed: it is stored, and nobody is notified.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    order: int = 100
    match: tuple[str, ...] = Field(default=(), max_length=20)
    severity: SeverityName | None = None
    suppress: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    route: tuple[Name, ...] = Field(default=(), max_length=50)
    mentions: tuple[Mention, ...] = Field(default=(), max_length=20)
    quiet_hours: tuple[QuietHours, ...] = Field(default=(), max_length=20)
