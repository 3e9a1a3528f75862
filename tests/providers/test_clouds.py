"""CloudWatch through SNS, Azure Monitor and Google Cloud: signatures, addresses, keys, and formats of old."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import FieldMapping
from schemas.wire.alert import Action, Severity
from streams.policy.signature import Reason, verify
from streams.providers import PROVIDERS, BadBody, Context, NoAlert
from tests.providers.amazon import (
    CONFIRMATION,
    CONFIRMING,
    NAMES,
    NOTIFICATION,
    SUBSCRIBE_URL,
    TOPIC,
    WITH_SUBJECT,
    certificate,
    rsa_key,
    signed,
)
from tests.providers.test_examples import drafts, refused
from tests.providers.test_vendors import silence

ALARM = {
    "AlarmName": "disk",
    "AWSAccountId": "1",
    "NewStateValue": "ALARM",
    "NewStateReason": "91 > 90",
    "StateChangeTime": "2026-11-02T08:15:00.000+0000",
}


def reason(body: bytes, pem: str | None = None) -> Reason | None:
    """Why an SNS message is refused."""
    scheme = PROVIDERS["cloudwatch"].signature
    assert scheme is not None
    return verify(scheme, certificate(rsa_key()) if pem is None else pem, {}.get, body, 0.0)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    ("envelope", "names"),
    [
        (NOTIFICATION, NAMES),
        ({**NOTIFICATION, "Subject": "S"}, WITH_SUBJECT),
        (CONFIRMATION, CONFIRMING),
        ({**CONFIRMATION, "Type": "UnsubscribeConfirmation"}, CONFIRMING),
        (
            {**CONFIRMATION, "Type": "UnsubscribeConfirmation"},
            "Message MessageId SubscribeURL Timestamp TopicArn Type",
        ),
    ],
)
def test_sns_signatures_of_every_type_and_version_hold(envelope: dict[str, str], names: str, version: str) -> None:
    """The signed text is the documented one, with the subject only if there is one, under SHA-1 and SHA-256."""
    assert reason(signed(envelope, version, names)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"Message": "other"},
        {"Subject": "added"},
        {"Subject": 5},
        {"SignatureVersion": "1"},
        {"SignatureVersion": "3"},
        {"Type": "SubscriptionConfirmation"},
        {"Type": "Other"},
        {"Signature": "not base64"},
        {"Signature": "AAAA"},
        {"SigningCertURL": "https://sns.eu-north-1.amazonaws.com.example.com/a.pem"},
        {"SigningCertURL": "http://sns.eu-north-1.amazonaws.com/a.pem"},
        {"SigningCertURL": "https://sns.eu-north-1.amazonaws.com/a.pem?x=.pem"},
        {"SigningCertURL": "https://user@sns.eu-north-1.amazonaws.com/a.pem"},
        {"SigningCertURL": "https://sns.eu-north-1.amazonaws.com/../a.pem"},
    ],
)
def test_sns_messages_that_were_changed_are_refused(changed: dict[str, Any]) -> None:
    """What is signed cannot be changed, and a certificate from anywhere but Amazon SNS signs nothing."""
    assert reason(signed(NOTIFICATION, "2", NAMES, **changed)) == "bad_signature"


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("Message", "MessageId", "TopicArn", "Timestamp"), st.text(min_size=1, max_size=40)),
        optional={"Subject": st.text(max_size=40)},
    ),
    st.sampled_from(["1", "2"]),
    st.data(),
)
def test_sns_signs_any_text_and_no_other(texts: dict[str, str], version: str, data: st.DataObject) -> None:
    """Line breaks, any Unicode and empty subjects are signed as documented; one text changed is another message."""
    envelope = {**texts, "Type": "Notification"}
    names = WITH_SUBJECT if "Subject" in texts else NAMES
    assert reason(signed(envelope, version, names)) is None
    name = data.draw(st.sampled_from(sorted(texts)))
    assert reason(signed(envelope, version, names, **{name: texts[name] + "\n"})) == "bad_signature"


def test_sns_messages_of_another_key_and_no_messages_are_refused() -> None:
    """Another certificate, one without an RSA key, no certificate, no JSON: bad_signature, never an exception."""
    body = signed(NOTIFICATION, "2", NAMES)
    assert reason(body, certificate(rsa.generate_private_key(65537, 2048))) == "bad_signature"
    assert reason(body, certificate(ec.generate_private_key(ec.SECP256R1()))) == "bad_signature"
    assert reason(body, "no certificate") == "bad_signature"
    assert reason(b"[]") == reason(b"\xff") == reason(b'{"Type":"Notification"}') == "bad_signature"


def test_sns_confirmation_hands_over_the_checked_address() -> None:
    """The address that confirms is the answer's callback, to be visited by somebody who may."""
    with pytest.raises(NoAlert) as caught:
        PROVIDERS["cloudwatch"].decode(json.dumps(CONFIRMATION).encode(), Context(b"", {}, FieldMapping()))
    assert (caught.value.kind, caught.value.callback) == ("handshake", SUBSCRIBE_URL)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.com/?Action=ConfirmSubscription",
        "http://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-north-1.amazonaws.com:8443/?Action=ConfirmSubscription",
        "https://sns.eu-north-1.amazonaws.com@example.com/?Action=ConfirmSubscription",
        "https://sns.eu-north-1.amazonaws.com\\@example.com/?Action=ConfirmSubscription",
        "https://sns.eu-north-1.amazonaws.com/\n?Action=ConfirmSubscription",
        "https://sns.eu-north-1.amazonaws.com/other?Action=ConfirmSubscription",
        "https://sns.eu-north-1.amazonaws.com/?Action=Unsubscribe",
        "https://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription&Action=Unsubscribe",
        "https://sns.evil.example/?Action=ConfirmSubscription",
    ],
)
def test_sns_never_has_another_address_visited(url: str) -> None:
    """Another host, port, user, path, scheme or action is a refusal (server-side request forgery)."""
    assert refused("cloudwatch", {**CONFIRMATION, "SubscribeURL": url}) == "SubscribeURL"


def test_sns_unsubscribe_has_nothing_to_visit() -> None:
    """Visiting the address of an UnsubscribeConfirmation would subscribe again."""
    body = json.dumps({**CONFIRMATION, "Type": "UnsubscribeConfirmation"}).encode()
    with pytest.raises(NoAlert) as caught:
        PROVIDERS["cloudwatch"].decode(body, Context(b"", {}, FieldMapping()))
    assert (caught.value.kind, caught.value.callback) == ("ignored", "")


def alarm(topic: str = TOPIC, **fields: object) -> dict[str, object]:
    """A CloudWatch notification with these fields of the alarm."""
    return {"Type": "Notification", "TopicArn": topic, "Message": json.dumps({**ALARM, **fields})}


def test_cloudwatch_alarms_with_and_without_arn_are_one() -> None:
    """The ARN says what region, account and name say; another region, account or name is another alarm."""
    arn = "arn:aws:cloudwatch:eu-north-1:1:alarm:disk"
    key = drafts("cloudwatch", alarm())[0].dedup_key
    assert drafts("cloudwatch", alarm(AlarmArn=arn, topic="arn:aws:sns:eu-north-1:2:other"))[0].dedup_key == key
    assert drafts("cloudwatch", {**ALARM, "AlarmArn": arn})[0].dedup_key == key
    others = (alarm(AlarmName="disk|"), alarm(AWSAccountId="2"), alarm(TOPIC.replace("north", "west")))
    assert len({drafts("cloudwatch", other)[0].dedup_key for other in others} | {key}) == 4


def test_cloudwatch_tells_what_happened_where() -> None:
    """State, reason, dimensions and time reach the draft, also those of a metric inside an expression."""
    pairs = [{"name": "QueueName", "value": "mail"}]
    metric = {"Id": "m1", "MetricStat": {"Metric": {"MetricName": "Depth", "Dimensions": pairs}}}
    (draft,) = drafts("cloudwatch", alarm(Trigger={"Metrics": [{"Expression": "m1*2"}, metric]}))
    assert (draft.summary, draft.source, draft.starts_at) == ("disk: 91 > 90", "mail", 1_793_607_300_000)
    assert draft.labels == {"QueueName": "mail", "region": "eu-north-1", "account": "1"}
    assert json.loads(draft.details)["AlarmName"] == "disk"
    (end,) = drafts("cloudwatch", alarm(NewStateValue="OK"))
    assert (end.action, end.starts_at, end.ends_at, end.source) == (Action.RESOLVE, 0, 1_793_607_300_000, "disk")
    assert refused("cloudwatch", alarm(NewStateValue="ok?")) == "NewStateValue"


def test_other_messages_of_a_topic_trigger_once_per_subject() -> None:
    """Plain text and other tools' JSON are not lost, and repeats of one subject fold into one."""
    plain = {"Type": "Notification", "TopicArn": TOPIC, "Message": "Spending is high.\nSee the console."}
    other = {**plain, "Message": '{"detail-type":"AWS Health Event"}', "Subject": "Health"}
    assert drafts("cloudwatch", plain)[0].summary == "Spending is high."
    (draft,) = drafts("cloudwatch", other)
    assert (draft.summary, draft.severity, draft.source) == ("Health", Severity.ERROR, "ops")
    assert drafts("cloudwatch", {**other, "Message": "x"})[0].dedup_key == draft.dedup_key
    assert refused("cloudwatch", {"hello": "world"}) == "Type"


def azure(condition: str = "Fired", **essentials: object) -> dict[str, object]:
    """A common schema alert with these essentials."""
    given = {"alertId": "/s/1/Alerts/A", "alertRule": "cpu", "monitorCondition": condition, **essentials}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": given, "alertContext": None}}


@pytest.mark.parametrize(
    ("word", "severity"),
    [("Sev0", 4), ("Sev1", 3), ("Sev2", 2), ("Sev3", 1), ("Sev4", 1), ("sev1", 3), (1, 3), (None, 3), ("Sev9", 3)],
)
def test_azure_counts_severities_from_zero(word: object, severity: int) -> None:
    """Sev1 is Azure's second level; without one it is the integration's default."""
    assert drafts("azure", azure(severity=word))[0].severity == severity


def test_azure_ids_are_one_in_any_case() -> None:
    """The same alert comes as Alerts and alerts; the target's name is the source."""
    (draft,) = drafts("azure", azure("Resolved", alertId="/S/1/alerts/a", alertTargetIDs=["/s/1/vm/Web-7"]))
    assert draft.dedup_key == drafts("azure", azure())[0].dedup_key
    assert (draft.action, draft.source) == (Action.RESOLVE, "Web-7")
    assert drafts("azure", azure(firedDateTime="3/22/2019 1:36:31 PM"))[0].starts_at == 0
    assert refused("azure", azure("Perhaps")) == "data.essentials.monitorCondition"


def test_azure_classic_alerts_have_no_schema() -> None:
    """The oldest metric alerts have status and context at the root, and end by Deactivated."""
    rule = {"id": "/s/1/rules/R", "name": "R", "resourceName": "web", "resourceId": "/s/1/Web"}
    (start,), (end,) = (drafts("azure", {"status": status, "context": rule}) for status in ("Activated", "Deactivated"))
    assert (start.action, end.action) == (Action.TRIGGER, Action.RESOLVE)
    assert start.dedup_key == end.dedup_key
    assert (
        start.dedup_key != drafts("azure", {"status": "Activated", "context": {**rule, "resourceId": "b"}})[0].dedup_key
    )
    assert refused("azure", {"status": "New", "context": rule}) == "status"
    assert refused("azure", {"schemaId": "other", "data": {}}) == "schemaId"
    assert refused("azure", [{"eventType": "Other"}]) == "body"


def test_azure_service_health_is_known_by_its_tracking_id() -> None:
    """Communications about one health event fold into one alert."""
    entry = {"eventSource": "ServiceHealth", "level": "Warning", "operationName": "health/incident"}

    def key(tracking: str) -> str:
        context = {"activityLog": {**entry, "properties": {"title": "Outage", "trackingId": tracking}}}
        body = {"schemaId": "Microsoft.Insights/activityLogs", "data": {"status": "Activated", "context": context}}
        return drafts("azure", body)[0].dedup_key

    assert key("A-1") == key("A-1") != key("B-2")


@pytest.mark.parametrize(
    ("state", "action"),
    [("open", Action.TRIGGER), ("CLOSED", Action.RESOLVE), ("acknowledged", Action.ACKNOWLEDGE)],
)
def test_gcp_states_are_actions_with_one_key(state: str, action: Action) -> None:
    """Trigger, acknowledge and resolve of one incident share its key; zero is no time."""
    (draft,) = drafts("gcp", {"incident": {"incident_id": 5, "state": state, "ended_at": 0, "started_at": "0"}})
    assert (draft.action, draft.dedup_key, draft.ends_at, draft.starts_at) == (action, "gcp|5", 0, 0)


def test_gcp_severity_is_the_policys_label_where_it_has_none() -> None:
    """Then the integration's default."""
    incident = {"incident_id": "1", "state": "open", "severity": "No severity"}
    labelled = {**incident, "policy_user_labels": {"severity": "critical"}}
    assert drafts("gcp", {"incident": labelled})[0].severity is Severity.CRITICAL
    assert drafts("gcp", {"incident": {**labelled, "severity": "Warning"}})[0].severity is Severity.WARNING
    assert drafts("gcp", {"incident": incident}, FieldMapping(default_severity="info"))[0].severity is Severity.INFO


def test_gcp_messages_of_pubsub_are_unwrapped_or_refused() -> None:
    """The details are the incident, not its envelope; what is no incident names where it is wrong."""
    inner = json.dumps({"version": "1.2", "incident": {"incident_id": "1", "state": "open"}}).encode()
    envelope = {"message": {"data": base64.b64encode(inner).decode(), "messageId": "9"}, "subscription": "s"}
    assert drafts("gcp", envelope)[0].details == inner
    assert refused("gcp", {"message": {"data": "?"}}) == "message.data"
    assert refused("gcp", {"message": {"data": base64.b64encode(b"[]").decode()}}) == "message.data"
    assert refused("gcp", {"message": {}}) == "body"
    assert refused("gcp", {"incident": {"incident_id": "1", "state": "odd"}}) == "incident.state"
    test = base64.b64encode(b'{"version":"test"}').decode()
    assert silence("gcp", json.dumps({"message": {"data": test}}).encode()) == "test"


def test_bad_bodies_are_refused_by_all_clouds() -> None:
    """A scalar is no alert."""
    for slug in ("cloudwatch", "azure", "gcp"):
        with pytest.raises(BadBody):
            drafts(slug, b"7")
