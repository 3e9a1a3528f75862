"""Entries of Azure's activity log, which the common and the activity log schema carry.

They are stateless: each entry is a new alert that says Fired (or Activated), with its own id. The entry itself says
what it is about, and whether that is over. Resource Health reports the state of a resource
(https://learn.microsoft.com/azure/service-health/resource-health-alert-monitor-guide), Service Health the stage of an
outage, whose entries share a tracking id
(https://learn.microsoft.com/azure/service-health/service-health-alert-webhook-guide).
"""

from schemas.wire.alert import Action
from streams.providers._contract import NoAlert, joined_key
from streams.providers._fields import Fields

_OVER = {"resolved", "complete", "completed", "canceled", "cancelled"}


def action_of(entry: Fields) -> Action:
    """Whether the entry begins or ends something. Raises NoAlert for the report (RCA) that follows an outage."""
    stage, health = entry.text("properties.stage").lower(), entry.text("properties.currentHealthStatus").lower()
    if stage == "rca":
        raise NoAlert("ignored")
    over = stage in _OVER or health == "available" or entry.text("status").lower() == "resolved"
    return Action.RESOLVE if over else Action.TRIGGER


def key_of(entry: Fields, subscription: str, resource: str) -> str:
    """The dedup key: the outage, or the resource whose health changed, else operation and resource.

    An end may have another operation than its beginning, so the operation is not part of the first two. Empty when the
    entry does not say what it is about.
    """
    operation, tracking = entry.text("operationName").lower(), entry.text("properties.trackingId")
    if tracking:
        return joined_key("azure", "service-health", tracking)
    if resource and (entry.text("properties.currentHealthStatus") or "resourcehealth" in operation):
        return joined_key("azure", "resource-health", resource)
    return joined_key("azure", "activity", subscription, resource, operation) if operation or resource else ""


def is_entry(signal: str, context: Fields) -> bool:
    """Whether the context of an alert in the common schema is an entry of the activity log."""
    return signal.lower() == "activity log" or bool(
        context.text("properties.trackingId", "properties.currentHealthStatus")
    )
