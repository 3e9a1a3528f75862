"""Azure Monitor (https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema).

The common alert schema, and the older ones that rules may still send: metric (with `schemaId`, or the classic one
without), log search, activity log, budgets, and others that name what they are about.

`sent_at`: `firedDateTime` is when this instance of the alert fired, `resolvedDateTime` when it ended, and an instance
never fires again under its id; `timestamp` and `eventTimestamp` are the times of the change or entry itself.
"""

from typing import NoReturn

from schemas.wire.alert import Action, Severity
from streams.providers import _azure_activity
from streams.providers._contract import (
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    as_decoded,
    first_key,
    joined_key,
    make_draft,
)
from streams.providers._fields import Fields, as_object, labels_of, link, read_json, text
from streams.providers._json import encode
from streams.providers._time import epoch_ms

#: Azure counts from 0: its Sev1 is the second level, unlike in other tools.
_SEVERITIES = {
    "0": Severity.CRITICAL,
    "1": Severity.ERROR,
    "2": Severity.WARNING,
    "3": Severity.INFO,
    "4": Severity.INFO,
}
#: Alerts without a condition (such as budgets) have no end.
_CONDITIONS = {"fired": Action.TRIGGER, "": Action.TRIGGER, "resolved": Action.RESOLVE}
_STATUSES = {"activated": Action.TRIGGER, "deactivated": Action.RESOLVE}
_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    if isinstance(value, list):
        _event_grid(value)
    fields = as_object(value)
    data = fields.object("data") if isinstance(fields.get("data"), dict) else fields
    if isinstance(data.get("essentials"), dict):
        return [_common(data.object("essentials"), data, details, context)]
    if isinstance(data.get("context.activityLog"), dict):
        return [_activity(data.object("context.activityLog"), details, context)]
    if isinstance(data.get("context"), dict):
        return [_metric(data.object("context"), data, details, context)]
    if data.text("AlertRuleName"):
        return [_log(data, details, context)]
    return [_other(fields.text("schemaId"), data, details, context)]


def _event_grid(events: list[object]) -> NoReturn:
    """Event Grid asks a new endpoint to repeat a code; alerts do not come as a list."""
    for event in events:
        fields = Fields(event if isinstance(event, dict) else {})
        if fields.text("eventType") == _VALIDATION:
            raise NoAlert("handshake", encode({"validationResponse": fields.require("data.validationCode")}))
    raise BadBody("body", "is not an object")


def _severity(word: str, context: Context) -> Severity:
    known = _SEVERITIES.get(word.lower().removeprefix("sev"))
    return context.severity(word) if known is None else known


def _common(essentials: Fields, data: Fields, details: bytes, context: Context) -> Draft:
    action = _CONDITIONS.get(essentials.text("monitorCondition").lower())
    if action is None:
        raise BadBody("data.essentials.monitorCondition", "is not Fired or Resolved")
    entry, targets = data.object("alertContext"), essentials.get("alertTargetIDs")
    rule, target = essentials.text("alertRule"), _first(targets).lower()
    key = _common_key(essentials, rule, target)
    if _azure_activity.is_entry(essentials.text("signalType"), entry):
        subscription = essentials.text("alertId").lower().split("/providers/")[0].rpartition("/")[2]
        key = _azure_activity.key_of(entry, subscription, target) or key
        action = _azure_activity.action_of(entry) if action is Action.TRIGGER else action
    fired, resolved = epoch_ms(essentials.get("firedDateTime")), epoch_ms(essentials.get("resolvedDateTime"))
    at = epoch_ms(entry.get("eventTimestamp")) or (resolved if action is Action.RESOLVE else fired)
    budget = entry.text("AlertData.BudgetName")
    title = rule or budget or entry.text("properties.title") or "Azure Monitor alert"
    return make_draft(
        dedup_key=key,
        action=action,
        severity=_severity(essentials.text("severity"), context),
        summary=_titled(title, essentials.text("description") or entry.text("properties.title")),
        source=budget or _first(essentials.get("configurationItems")) or _name(_first(targets)) or title,
        component=essentials.text("monitoringService"),
        class_=essentials.text("signalType"),
        labels=labels_of(data.get("customProperties")),
        details=details,
        links=link(essentials.text("investigationLink"), "Azure"),
        starts_at=fired,
        ends_at=resolved or at,
        sent_at=at,
    )


def _common_key(essentials: Fields, rule: str, target: str) -> str:
    """The alert's id, in lower case because its case varies; without an id, rule and target."""
    alert = essentials.text("alertId", "originAlertId").lower()
    if not (alert or rule or target):
        raise BadBody("data.essentials.alertId", "is required without alertRule and alertTargetIDs")
    return joined_key("azure", alert) if alert else joined_key("azure", "rule", rule, target)


def _metric(rule: Fields, data: Fields, details: bytes, context: Context) -> Draft:
    key, resource = rule.text("id", "name").lower(), rule.text("resourceId").lower()
    if not (key or resource):
        raise BadBody("context.id", "is required without name and resourceId")
    action = _STATUSES.get(data.require("status").lower())
    if action is None:
        raise BadBody("status", "is not Activated or Deactivated")
    name = rule.text("name") or _name(key or resource)
    at = epoch_ms(rule.get("timestamp"))
    return make_draft(
        dedup_key=joined_key("azure", key, resource),
        action=action,
        severity=_severity(rule.text("severity"), context),
        summary=_titled(name, rule.text("description")),
        source=rule.text("resourceName") or _name(resource) or name,
        component=rule.text("resourceType"),
        group=rule.text("resourceGroupName"),
        class_="Metric",
        labels=labels_of(data.get("properties")),
        details=details,
        links=link(rule.text("portalLink"), "Azure"),
        starts_at=at if action is Action.TRIGGER else 0,
        ends_at=at,
        sent_at=at,
    )


def _log(alert: Fields, details: bytes, context: Context) -> Draft:
    name, resource = alert.require("AlertRuleName"), alert.text("ResourceId").lower()
    return make_draft(
        dedup_key=joined_key("azure", "log", alert.text("SubscriptionId"), resource, name),
        action=Action.TRIGGER,
        severity=_severity(alert.text("Severity"), context),
        summary=_titled(name, alert.text("Description")),
        source=_name(resource) or name,
        class_="Log",
        details=details,
        links=link(alert.text("LinkToSearchResults"), "Search results"),
        starts_at=epoch_ms(alert.get("SearchIntervalEndtimeUtc")),
    )


def _activity(entry: Fields, details: bytes, context: Context) -> Draft:
    operation, resource = entry.text("operationName"), entry.text("resourceId").lower()
    at, action = epoch_ms(entry.get("eventTimestamp")), _azure_activity.action_of(entry)
    key = _azure_activity.key_of(entry, entry.text("subscriptionId").lower(), resource)
    if not key:
        raise BadBody("data.context.activityLog.operationName", "is required without resourceId")
    title = entry.text("properties.title") or operation or _name(resource) or entry.text("properties.trackingId")
    return make_draft(
        dedup_key=key,
        action=action,
        severity=context.severity(entry.text("level")),
        summary=_titled(title, entry.text("status")),
        source=_name(resource) or entry.text("properties.service", "resourceGroupName") or "azure",
        component=entry.text("resourceType", "resourceProviderName"),
        group=entry.text("resourceGroupName"),
        class_=entry.text("eventSource"),
        details=details,
        starts_at=at if action is Action.TRIGGER else 0,
        ends_at=at,
        sent_at=at,
    )


def _other(schema: str, data: Fields, details: bytes, context: Context) -> Draft:
    """A body of another schema that names what it is about, for example "AIP Budget Notification"."""
    name = data.text("BudgetName", "alertRule", "ruleName", "alertName", "AlertName", "name", "title", "displayName")
    if not name:
        raise BadBody("schemaId", "is not a schema of Azure Monitor")
    resource = data.text("ResourceId", "resourceId").lower()
    threshold = data.text("NotificationThresholdAmount")
    spent = f"{data.text('SpendingAmount')} of {data.text('Budget')} {data.text('Unit')} spent" if threshold else ""
    word = data.text("monitorCondition", "status").lower()
    return make_draft(
        dedup_key=joined_key("azure", schema, data.text("SubscriptionId", "subscriptionId"), resource, name, threshold),
        action=_CONDITIONS.get(word) or _STATUSES.get(word) or Action.TRIGGER,
        severity=_severity(data.text("severity", "Severity"), context),
        summary=_titled(name, spent or data.text("description", "Description")),
        source=_name(resource) or data.text("ResourceGroup", "SubscriptionName") or name,
        group=data.text("ResourceGroup"),
        class_=schema,
        details=details,
    )


def _titled(name: str, description: str) -> str:
    return f"{name}: {description}" if description else name


def _first(values: object) -> str:
    return next(filter(None, map(text, values)), "") if isinstance(values, list) else ""


def _name(resource_id: str) -> str:
    """The last part of a resource's path."""
    return resource_id.rstrip("/").rpartition("/")[2]


PROVIDER = Provider(
    slug="azure",
    title="Azure Monitor",
    docs_url="https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    methods=("POST", "OPTIONS"),
    setup=(
        "In the Azure portal, open Monitor, Alerts, Action groups, and add an action of type Webhook with the "
        "integration's URL.",
        "Switch on the common alert schema for it.",
        "Add the action group to each alert rule, and let the rule resolve alerts by itself.",
    ),
    fields=(
        (
            "dedup_key",
            "`essentials.alertId`, else rule and target; activity log: the tracking id of Service Health, the resource "
            "of Resource Health, else operation and resource; older: `context.id` and `context.resourceId`; log: "
            "rule and resource; budgets: subscription, name and threshold",
        ),
        (
            "action",
            "`essentials.monitorCondition` (Fired, Resolved); older: `status` (Activated, Deactivated); activity log: "
            "`currentHealthStatus` Available, `stage` Resolved, Complete or Canceled and `status` Resolved resolve, a "
            "stage RCA is answered and ignored; log and budget alerts always trigger",
        ),
        ("severity", "`essentials.severity`; older: `context.severity`, `Severity`, `level`"),
        (
            "summary",
            "`essentials.alertRule` and `essentials.description`; older: name and description of the rule or operation",
        ),
        (
            "source",
            "`essentials.configurationItems.0`, the last part of `essentials.alertTargetIDs.0`; older: the "
            "resource's name",
        ),
        ("component", "`essentials.monitoringService`; older: `resourceType`"),
        ("group", "older: `resourceGroupName`"),
        ("class", "`essentials.signalType`; older: Metric, Log, `eventSource`"),
        ("labels", "`customProperties`; older: `properties`"),
        ("links", "`essentials.investigationLink`; older: `portalLink`, `LinkToSearchResults`"),
        ("starts_at", "`essentials.firedDateTime`; older: `timestamp`, `SearchIntervalEndtimeUtc`, `eventTimestamp`"),
        ("ends_at", "`essentials.resolvedDateTime`; older: `timestamp` of an end"),
        (
            "sent_at",
            "`eventTimestamp`, `essentials.firedDateTime` or, of an end, `essentials.resolvedDateTime`; older: "
            "`timestamp`",
        ),
    ),
    severity_note="Sev0 is critical, Sev1 error, Sev2 warning, Sev3 and Sev4 info; without one the integration's "
    "default.",
    key_scope="global",
    key_reason="Azure resource ids and alert ids are unique in all of Azure",
    retries=(429, 503),
    retries_note="Azure Monitor tries 408, 429, 503 and 504 again, up to five times (action groups, webhook actions)",
    examples=(
        Example(
            b'{"schemaId":"azureMonitorCommonAlertSchema","data":{"essentials":{"alertId":"/subscriptions/1/providers/'
            b'Microsoft.AlertsManagement/alerts/5E","alertRule":"disk-90","severity":"Sev2","signalType":"Metric",'
            b'"monitorCondition":"Fired","configurationItems":["vm-7"],"firedDateTime":"2026-11-02T08:15:00.1234567Z",'
            b'"description":"Disk over 90 %"},"alertContext":{},"customProperties":{"team":"shop"}}}',
            ((Action.TRIGGER, "azure|/subscriptions/1/providers/microsoft.alertsmanagement/alerts/5e"),),
        ),
        Example(
            b'{"schemaId":"AzureMonitorMetricAlert","data":{"status":"Deactivated","context":{"id":"/s/1/metricAlerts/M",'
            b'"name":"M","severity":"1","resourceName":"web","resourceId":"/s/1/Web","timestamp":"2026-11-02T09:00:00Z"}}}',
            ((Action.RESOLVE, "azure|/s/1/metricalerts/m|/s/1/web"),),
        ),
        Example(
            b'{"schemaId":"Microsoft.Insights/LogAlert","data":{"AlertRuleName":"errors","SubscriptionId":"1",'
            b'"Severity":"3","ResourceId":"/s/1/Logs","LinkToSearchResults":"https://portal.azure.com/"}}',
            ((Action.TRIGGER, "azure|log|1|/s/1/logs|errors"),),
        ),
        Example(
            b'{"schemaId":"Microsoft.Insights/activityLogs","data":{"status":"Activated","context":{"activityLog":{'
            b'"operationName":"vm/restart","resourceId":"/s/1/VM","level":"Warning","subscriptionId":"1"}}}}',
            ((Action.TRIGGER, "azure|activity|1|/s/1/vm|vm/restart"),),
        ),
        Example(
            b'[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"19f7"}}]',
            (),
            silence="handshake",
        ),
    ),
)
