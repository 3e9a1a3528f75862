"""Rows of history as answers have them: what `streams.history.queries` selects, with None where nothing is recorded."""

from uuid import UUID

from pydantic import BaseModel

from streams.api.incident import SeverityName
from streams.api.times import Time


class AlertShown(BaseModel):
    """An alert and what became of it; `rule` has the ids of the rules that matched."""

    event_id: UUID
    received_at: Time
    provider: str
    integration: str
    service: str
    severity: SeverityName
    action: str
    outcome: str
    incident_id: UUID | None
    dedup_key: str
    summary: str
    source: str
    labels: dict[str, str]
    rule: str


class AttemptShown(BaseModel):
    """One attempt to tell a destination, or (`attempt` 0) the reason for none, in `error`."""

    finished_at: Time
    tenant: str
    destination: str
    channel: str
    transition: str
    outcome: str
    attempt: int
    http_status: int
    error: str
    queued_at: Time
    sent_at: Time | None
    incident_id: UUID | None
    notification_id: UUID


class HourShown(BaseModel):
    """The alerts of an hour, the incidents that opened, and the messages that something is wrong."""

    hour: Time
    alerts: int
    incidents: int
    pages: int


class NoisyAlert(BaseModel):
    """How often the alert of a key came."""

    fingerprint: UUID
    service: str
    dedup_key: str
    summary: str
    count: int
    last_seen: Time


class ServiceResponse(BaseModel):
    """The incidents of a service; the mean seconds until people acknowledged and until they resolved."""

    service: str
    incidents: int
    mtta_s: float | None
    mttr_s: float | None


class DestinationPages(BaseModel):
    """The messages to a destination that something is wrong; `at_night` from 22:00 to 08:00 UTC."""

    destination: str
    pages: int
    at_night: int
