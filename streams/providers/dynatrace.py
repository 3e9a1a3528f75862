"""Dynatrace problem notifications (https://docs.dynatrace.com/docs/analyze-explore-automate/notifications-and-alerting).

The body is a template of placeholders that the customer edits. JSON parts come as JSON or as text, and texts may be
unescaped. The bare `{ProblemDetailsJSONv2}` is a body as well (`problemId`, `status`). A problem may be opened again
under its id with its earlier `startTime`, which its end carries too.
"""

from schemas.wire.alert import Action, Severity
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
from streams.providers._fields import Fields, labels_of, link, nested_json, read
from streams.providers._template import read_template
from streams.providers._time import epoch_ms

_STATES = {
    "open": Action.TRIGGER,
    "resolved": Action.RESOLVE,
    "closed": Action.RESOLVE,
    # A merged problem is reported further as part of another one.
    "merged": Action.RESOLVE,
}
_SEVERITIES = {
    "AVAILABILITY": Severity.CRITICAL,
    "MONITORING_UNAVAILABLE": Severity.CRITICAL,
    "ERROR": Severity.ERROR,
    "ERRORS": Severity.ERROR,
    "PERFORMANCE": Severity.WARNING,
    "RESOURCE": Severity.WARNING,
    "RESOURCE_CONTENTION": Severity.WARNING,
    "CUSTOM": Severity.INFO,
    "CUSTOM_ALERT": Severity.INFO,
    "INFO": Severity.INFO,
}
#: The names of the payload in `setup`, and those on Dynatrace's own pages.
_NAMES = (
    *("State", "PID", "ProblemID", "ProblemTitle", "ProblemSeverity", "ProblemImpact", "ProblemURL", "Problem URL"),
    *("ImpactedEntities", "ImpactedEntity", "ImpactedEntityNames", "NamesOfImpactedEntities", "Tags"),
    *("ProblemDetailsJSON", "ProblemDetailsJSONv2", "ProblemDetailsText", "ProblemDetailsHTML"),
    "ProblemDetailsMarkdown",
)
_TEST_IDS = {"99999", "999999"}
_TEST_TITLE = "Dynatrace problem notification test run"


def _decode(body: bytes, context: Context) -> list[Draft]:
    fields, details = read_template(lambda text: read(text, context), body, _NAMES)
    more = _nested(fields)
    title = fields.text("ProblemTitle", "title") or more.text("title")
    key = fields.text("PID", "problemId") or more.text("problemId") or fields.text("ProblemID", "displayId")
    if key in _TEST_IDS or title == _TEST_TITLE:
        raise NoAlert("test")
    if not (key or title):
        raise BadBody("PID", "is required without ProblemTitle")
    state = fields.text("State", "status") or more.text("status")
    action = _STATES.get(state.lower())
    if action is None:
        raise BadBody("State", "is not OPEN, RESOLVED or MERGED")
    names = fields.text("ImpactedEntityNames", "NamesOfImpactedEntities", "ImpactedEntity") or _names(fields, more)
    severity = fields.text("ProblemSeverity", "severityLevel") or more.text("severityLevel")
    return [
        make_draft(
            dedup_key=joined_key(key) if key else joined_key("title", title),
            action=action,
            severity=_SEVERITIES.get(severity.upper()) or context.severity(severity),
            summary=title or f"Dynatrace problem {key}",
            source=names or "dynatrace",
            component=names,
            group=fields.text("ProblemImpact", "impactLevel") or more.text("impactLevel"),
            class_=severity,
            labels=labels_of(fields.text("Tags")),
            details=details,
            links=link(fields.text("ProblemURL", "Problem URL"), "Dynatrace"),
            starts_at=epoch_ms(fields.get("startTime") or more.get("startTime")),
            ends_at=epoch_ms(fields.get("endTime") or more.get("endTime")),
            began_at=epoch_ms(fields.get("startTime") or more.get("startTime")),
        )
    ]


def _nested(fields: Fields) -> Fields:
    """The problem's details, if the template carries them; the newer form is preferred."""
    for name in ("ProblemDetailsJSONv2", "ProblemDetailsJSON"):
        value = nested_json(fields.get(name))
        if isinstance(value, dict):
            return Fields(value)
    return Fields({})


def _names(fields: Fields, more: Fields) -> str:
    """The names of the affected entities, from the list in either of its forms."""
    entities = Fields({"items": nested_json(fields.get("ImpactedEntities"))}).objects("items")
    entities = entities or fields.objects("impactedEntities") or more.objects("impactedEntities")
    return ", ".join(name for entity in entities if (name := entity.text("name")))


PROVIDER = Provider(
    slug="dynatrace",
    title="Dynatrace",
    docs_url="https://docs.dynatrace.com/docs/analyze-explore-automate/notifications-and-alerting/problem-notifications",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("content-type",),
    setup=(
        "In Dynatrace, open Settings, Integration, Problem notifications, and add a custom integration.",
        "As webhook URL, paste the integration's URL, and switch on the call for closed problems.",
        'As payload: {"State": "{State}", "PID": "{PID}", "ProblemID": "{ProblemID}", "ProblemTitle": '
        '"{ProblemTitle}", "ProblemSeverity": "{ProblemSeverity}", "ProblemImpact": "{ProblemImpact}", '
        '"ImpactedEntities": {ImpactedEntities}, "ImpactedEntityNames": "{ImpactedEntityNames}", "Tags": "{Tags}", '
        '"ProblemURL": "{ProblemURL}"}',
        "Send the test notification: it is answered, and opens nothing.",
    ),
    fields=(
        ("dedup_key", "`PID`, `problemId`, `ProblemID`, `displayId`, else `ProblemTitle`"),
        ("action", "`State`, `status`: OPEN triggers; RESOLVED, CLOSED and MERGED resolve"),
        ("severity", "`ProblemSeverity`, `severityLevel`"),
        ("summary", "`ProblemTitle`, `title`"),
        ("source", "`ImpactedEntityNames`, `NamesOfImpactedEntities`, `ImpactedEntity`, names in `ImpactedEntities`"),
        ("component", "the same"),
        ("group", "`ProblemImpact`, `impactLevel`"),
        ("class", "`ProblemSeverity`, `severityLevel`"),
        ("labels", "`Tags`"),
        ("links", "`ProblemURL`"),
        ("starts_at", "`startTime`"),
        ("ends_at", "`endTime`"),
        ("began_at", "`startTime`"),
    ),
    severity_note="AVAILABILITY and MONITORING_UNAVAILABLE are critical, ERROR is error, PERFORMANCE and RESOURCE "
    "are warning, CUSTOM is info.",
    key_scope="installation",
    key_reason="problem ids count inside one environment",
    retries=(),
    retries_note="Dynatrace documents no second try",
    examples=(
        Example(
            b'{"State":"OPEN","PID":"811_1793954578315V2","ProblemID":"P-77","ProblemTitle":"Failure rate increase",'
            b'"ProblemSeverity":"ERROR","ProblemImpact":"SERVICE","ImpactedEntities":"[{\\"type\\":\\"SERVICE\\",'
            b'\\"name\\":\\"basket\\"}]","ImpactedEntityNames":"{ImpactedEntityNames}","Tags":"env:test",'
            b'"ProblemURL":"https://example.com/p/77"}',
            ((Action.TRIGGER, "811_1793954578315V2"),),
        ),
        Example(
            b'{"problemId":"811_1793954578315V2","displayId":"P-77","title":"Failure rate increase","status":"CLOSED",'
            b'"severityLevel":"ERROR","impactedEntities":[{"name":"basket"}],"startTime":1793954578315,'
            b'"endTime":1793954978315}',
            ((Action.RESOLVE, "811_1793954578315V2"),),
        ),
        Example(b'{"State":"OPEN","PID":"99999","ProblemID":"999","ProblemTitle":"test run"}', (), silence="test"),
    ),
)
