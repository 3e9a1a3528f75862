"""AWS CloudWatch alarms through SNS (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html).

SNS posts JSON as text/plain, with the alarm as JSON text in `Message`; with raw delivery, the alarm is the body and
nothing is signed (the first example, which can be sent by hand). EventBridge wraps the same state change in an event
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html), which comes through
SNS or is posted directly. Region, account and name identify an alarm; its ARN contains them, and older payloads have
them in other fields. `StateChangeTime` (EventBridge: `state.timestamp`) is when the alarm entered this state.

Any other message (Budgets, Health, plain text) is an alert too, because the integration was subscribed to it. It
triggers once per subject, or per resources of an event, and has no end, unless it is an event of AWS Health. An
UnsubscribeConfirmation is never answered: that would re-subscribe.
"""

from schemas.wire.alert import Action, Severity
from streams.policy.signature import SnsCertificate
from streams.providers import _sns
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
from streams.providers._fields import Fields, as_object, read_json, text
from streams.providers._json import encode
from streams.providers._time import epoch_ms

_STATES = {
    "ALARM": (Action.TRIGGER, Severity.CRITICAL),
    "INSUFFICIENT_DATA": (Action.TRIGGER, Severity.WARNING),
    "OK": (Action.RESOLVE, Severity.INFO),
}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    match fields.text("Type"):
        case "SubscriptionConfirmation":
            raise NoAlert("handshake", callback=_sns.subscribe_url(fields))
        case "UnsubscribeConfirmation":
            raise NoAlert("ignored")
        case "Notification":
            return [_notification(fields, context)]
    alarm = _alarm_in(fields)
    if alarm is not None:
        return [_alarm(alarm, details, "")]
    if fields.text("detail-type"):
        return [_event(fields, details, context)]
    raise BadBody("Type", "is not that of an SNS message, and the body is no alarm")


def _notification(envelope: Fields, context: Context) -> Draft:
    topic, message = envelope.text("TopicArn"), envelope.require("Message", "Subject")
    try:
        value, details = read_json(message.encode())
    except BadBody:
        value, details = None, encode(message)
    told = Fields(value if isinstance(value, dict) else {})
    alarm = _alarm_in(told)
    if alarm is not None:
        return _alarm(alarm, details, topic)
    if told.text("detail-type") and not envelope.text("Subject"):
        return _event(told, details, context)
    subject = envelope.text("Subject") or message.splitlines()[0]
    return make_draft(
        dedup_key=joined_key("cloudwatch", "topic", topic, subject),
        action=Action.TRIGGER,
        severity=context.severity(""),
        summary=subject,
        source=topic.rpartition(":")[2] or "cloudwatch",
        labels={"topic": topic} if topic else {},
        details=details,
        starts_at=epoch_ms(envelope.get("Timestamp")),
    )


def _alarm_in(body: Fields) -> Fields | None:
    """The alarm in a message or event, with the names of CloudWatch's own notification; None for anything else."""
    if body.text("AlarmName"):
        return body
    if not body.text("detail.alarmName"):
        return None
    if body.text("detail.operation"):
        raise NoAlert("ignored")  # the alarm was created, changed or deleted
    arns = body.get("resources")
    metrics = body.objects("detail.configuration.metrics")
    return Fields(
        {
            "AlarmName": body.text("detail.alarmName"),
            "AlarmArn": next((text(arn) for arn in arns if ":alarm:" in text(arn)), "")
            if isinstance(arns, list)
            else "",
            "AWSAccountId": body.text("account"),
            "Region": body.text("region"),
            "NewStateValue": body.text("detail.state.value"),
            "NewStateReason": body.text("detail.state.reason"),
            "StateChangeTime": body.text("detail.state.timestamp", "time"),
            "Trigger": {
                "MetricName": next(filter(None, (one.text("metricStat.metric.name") for one in metrics)), ""),
                "Namespace": next(filter(None, (one.text("metricStat.metric.namespace") for one in metrics)), ""),
                "Dimensions": [
                    {"name": name, "value": value}
                    for one in metrics
                    for name, value in one.object("metricStat.metric.dimensions").items()
                ],
            },
        }
    )


def _event(event: Fields, details: bytes, context: Context) -> Draft:
    """Any other event of EventBridge, about its resources; only AWS Health says which event ends, by an id."""
    kind, resources = event.text("detail-type"), event.get("resources")
    about = ", ".join(filter(None, map(text, resources))) if isinstance(resources, list) else ""
    said = event.text("detail.eventDescription", "detail.eventTypeCode", "detail.title", "detail.message")
    place = event.text("detail.eventArn") or joined_key(event.text("account"), event.text("region"), about)
    return make_draft(
        dedup_key=joined_key("cloudwatch", "event", event.text("source"), kind, place),
        action=Action.RESOLVE if event.text("detail.statusCode").lower() == "closed" else Action.TRIGGER,
        severity=context.severity(event.text("detail.severity")),
        summary=": ".join(part for part in (kind, said or about) if part),
        source=about or event.text("source") or "cloudwatch",
        group=event.text("account"),
        class_=event.text("source"),
        labels={name: value for name in ("region", "account") if (value := event.text(name))},
        details=details,
        starts_at=epoch_ms(event.get("time")),
        ends_at=epoch_ms(event.get("time")),
    )


def _alarm(alarm: Fields, details: bytes, topic: str) -> Draft:
    name, state = alarm.text("AlarmName"), alarm.require("NewStateValue")
    if state not in _STATES:
        raise BadBody("NewStateValue", "is not ALARM, OK or INSUFFICIENT_DATA")
    action, severity = _STATES[state]
    arn = alarm.text("AlarmArn").split(":", 6) if alarm.text("AlarmArn").count(":") >= 6 else topic.split(":", 6)
    # An alarm and the topic it notifies are in one region, but may be in two accounts.
    region = (arn[3] if len(arn) > 3 else "") or alarm.text("Region")
    account = alarm.text("AWSAccountId") or (arn[4] if len(arn) > 4 else "")
    dimensions = _dimensions(alarm)
    at = epoch_ms(alarm.get("StateChangeTime"))
    return make_draft(
        dedup_key=joined_key("cloudwatch", region, account, name),
        action=action,
        severity=severity,
        summary=": ".join(part for part in (name, alarm.text("NewStateReason")) if part),
        source=dimensions.get("InstanceId") or next(iter(dimensions.values()), name),
        component=alarm.text("Trigger.Namespace"),
        group=account,
        class_=alarm.text("Trigger.MetricName"),
        labels={**dimensions, "region": region, "account": account},
        details=details,
        starts_at=at if action is Action.TRIGGER else 0,
        ends_at=at,
        sent_at=at,
    )


def _dimensions(alarm: Fields) -> dict[str, str]:
    """The dimensions of the metric, or of the metrics of an expression; composite alarms have none."""
    metrics = alarm.objects("Trigger.Metrics")
    pairs = alarm.objects("Trigger.Dimensions")
    pairs += [pair for metric in metrics for pair in metric.objects("MetricStat.Metric.Dimensions")]
    return {
        name: value for pair in pairs if (name := pair.text("name", "Name")) and (value := pair.text("value", "Value"))
    }


PROVIDER = Provider(
    slug="cloudwatch",
    title="AWS CloudWatch",
    docs_url="https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    signature=SnsCertificate(_sns.read),
    setup=(
        "In Amazon SNS, create a standard topic and a subscription to it: protocol HTTPS, endpoint the integration's "
        "URL. Leave raw message delivery off, so that messages are signed.",
        "Its status is pending until the gateway has confirmed it; if it stays so, choose Request confirmation.",
        "List the topic's ARN in the integration's topic_arns, so that no other topic is taken.",
        "In CloudWatch, add the topic to each alarm as action for In alarm and for OK.",
    ),
    fields=(
        (
            "dedup_key",
            "region and account (`AlarmArn`, `AWSAccountId`, `TopicArn`) and `AlarmName`, of EventBridge the same; of "
            "other events `source`, `detail-type` and `resources`; of other messages `TopicArn` and `Subject`",
        ),
        (
            "action",
            "`NewStateValue`, `detail.state.value`: ALARM and INSUFFICIENT_DATA trigger, OK resolves; other messages "
            "trigger, but an event of AWS Health whose `detail.statusCode` is closed resolves",
        ),
        ("severity", "`NewStateValue`"),
        ("summary", "`AlarmName` and `NewStateReason`; of other messages `Subject`"),
        ("source", "the dimension `InstanceId`, the first dimension, `AlarmName`"),
        ("component", "`Trigger.Namespace`"),
        ("group", "`AWSAccountId`"),
        ("class", "`Trigger.MetricName`"),
        ("labels", "`Trigger.Dimensions`, region, account; of other messages `TopicArn` as `topic`"),
        ("starts_at", "`StateChangeTime`, `Timestamp`"),
        ("ends_at", "`StateChangeTime` of an end"),
        ("sent_at", "`StateChangeTime`, `detail.state.timestamp`"),
    ),
    severity_note="ALARM is critical, INSUFFICIENT_DATA is warning; other messages get the integration's default.",
    key_scope="global",
    key_reason="region, account and name are those of the alarm's ARN",
    retries=(429, 503),
    retries_note="Amazon SNS sends again after 429 and 5xx by its delivery policy, EventBridge API destinations for a "
    "day",
    examples=(
        Example(
            b'{"AlarmName":"disk-full","AWSAccountId":"210987654321","NewStateValue":"ALARM","NewStateReason":'
            b'"91 > 90","StateChangeTime":"2026-11-02T08:15:00.000+0000","AlarmArn":'
            b'"arn:aws:cloudwatch:eu-north-1:210987654321:alarm:disk-full","Trigger":{"MetricName":"Used",'
            b'"Namespace":"Shop","Dimensions":[{"name":"InstanceId","value":"i-7"}]}}',
            ((Action.TRIGGER, "cloudwatch|eu-north-1|210987654321|disk-full"),),
        ),
        Example(
            b'{"Type":"Notification","MessageId":"5c1f","TopicArn":"arn:aws:sns:eu-north-1:210987654321:ops",'
            b'"Subject":"ALARM: \\"disk-full\\" in EU (Stockholm)","Message":"{\\"AlarmName\\":\\"disk-full\\",'
            b'\\"AWSAccountId\\":\\"210987654321\\",\\"NewStateValue\\":\\"ALARM\\",\\"NewStateReason\\":\\"91 > 90\\",'
            b'\\"StateChangeTime\\":\\"2026-11-02T08:15:00.000+0000\\",\\"Trigger\\":{\\"MetricName\\":\\"Used\\",'
            b'\\"Namespace\\":\\"Shop\\",\\"Dimensions\\":[{\\"name\\":\\"InstanceId\\",\\"value\\":\\"i-7\\"}]}}",'
            b'"Timestamp":"2026-11-02T08:15:01.000Z","SignatureVersion":"1","Signature":"AA=="}',
            ((Action.TRIGGER, "cloudwatch|eu-north-1|210987654321|disk-full"),),
        ),
        Example(
            b'{"AlarmName":"disk-full","AWSAccountId":"210987654321","NewStateValue":"OK","AlarmArn":'
            b'"arn:aws:cloudwatch:eu-north-1:210987654321:alarm:disk-full"}',
            ((Action.RESOLVE, "cloudwatch|eu-north-1|210987654321|disk-full"),),
        ),
        Example(
            b'{"Type":"Notification","TopicArn":"arn:aws:sns:eu-north-1:210987654321:ops","Subject":"Budget",'
            b'"Message":"Spending is above the plan.\\nSee the console."}',
            ((Action.TRIGGER, "cloudwatch|topic|arn:aws:sns:eu-north-1:210987654321:ops|Budget"),),
        ),
        Example(
            b'{"Type":"SubscriptionConfirmation","TopicArn":"arn:aws:sns:eu-north-1:210987654321:ops","Token":"77aa",'
            b'"SubscribeURL":"https://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription&Token=77aa"}',
            (),
            silence="handshake",
        ),
        Example(b'{"Type":"UnsubscribeConfirmation","Token":"77ab"}', (), silence="ignored"),
    ),
)
