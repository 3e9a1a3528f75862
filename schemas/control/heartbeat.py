"""Heartbeats: what is expected to report regularly, and is missing if it does not."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from schemas.control.destination import SecretMark
from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Reference, SeverityName

DAY_S = 86_400


class Heartbeat(AnyRecord):
    """A monitor that expects a beat every `every` seconds. After `grace` more seconds without one it is missing, which
    is an incident of `service`; the next beat resolves it. It is armed when it is configured, not by its first beat.

    A beat is a request to `/v1/heartbeats/<key>`, or a trigger of any provider for which all conditions of `match`
    hold. Alerts that match are nothing but beats: they end as suppressed. A monitor that is not `enabled` expects
    nothing.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    service: Name
    every: int = Field(ge=1, le=400 * DAY_S)
    grace: int = Field(default=60, ge=0, le=31 * DAY_S)
    severity: SeverityName = "critical"
    key: Annotated[str | None, SecretMark()] = Field(default=None, pattern=r"^[0-9a-f]{32}$", repr=False)
    match: tuple[str, ...] = Field(default=(), max_length=20)
    enabled: bool = True

    @model_validator(mode="after")
    def _reachable(self) -> "Heartbeat":
        if self.key is None and not self.match:
            raise ValueError("a heartbeat needs a key, a match or both: else nothing can be its beat")
        return self

    @property
    def period_ms(self) -> int:
        """Milliseconds after a beat at which the next one is missing."""
        return (self.every + self.grace) * 1000

    def references(self) -> Iterator[Reference]:
        """The service that its incidents are about."""
        yield Reference("service", "service", self.service)
