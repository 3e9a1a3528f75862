"""Rules: what is changed or decided for the alerts that match."""

from pydantic import Field

from schemas.control.record import DEFAULT_TENANT, Name, Record, SeverityName


class Rule(Record):
    """One rule. Rules are tried by `order`, then by id; every rule whose matchers all hold is applied.

    `match` lines are Alertmanager matchers (`severity="info"`, `service=~"pay.*"`, `labels.env!="prod"`).
    `route` adds destinations. `suppress` ends the alert as suppressed: it is stored, and nobody is notified.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    order: int = 100
    match: tuple[str, ...] = Field(default=(), max_length=20)
    severity: SeverityName | None = None
    suppress: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    route: tuple[Name, ...] = Field(default=(), max_length=50)
