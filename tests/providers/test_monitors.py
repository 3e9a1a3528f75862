"""Uptime monitors and classic monitoring: states, keys, and bodies that are no JSON."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from schemas.wire.alert import Action, Severity
from streams.providers import QUERY, BadBody
from tests.providers.test_examples import drafts, refused
from tests.providers.test_vendors import silence

TRIGGER, RESOLVE, ACKNOWLEDGE = Action.TRIGGER, Action.RESOLVE, Action.ACKNOWLEDGE
ROBOT = {"monitorID": "7", "monitorFriendlyName": "Till", "alertType": "1", "alertDateTime": "1793954578"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
Value = dict[str, Any]


def test_uptimerobot_query_form_and_json_say_the_same() -> None:
    """The three deliveries give one draft; of a query only the vendor's own names are kept."""
    query = {QUERY: urlencode({**ROBOT, "integrationId": "secret"})}
    (by_query,) = drafts("uptimerobot", b"", None, query)
    (by_form,) = drafts("uptimerobot", urlencode(ROBOT).encode(), None, FORM)
    (by_json,) = drafts("uptimerobot", ROBOT, None, query)
    assert by_query == by_form
    assert (by_query.dedup_key, by_query.starts_at) == (by_json.dedup_key, by_json.starts_at)
    assert json.loads(by_query.details) == ROBOT
    assert by_query.starts_at == 1_793_954_578_000


def test_uptimerobot_expiry_is_not_ended_by_up() -> None:
    """A certificate that expires is another thing than a monitor that is down, and types decide, not words."""
    down, up, expiry = (drafts("uptimerobot", {**ROBOT, "alertType": kind})[0] for kind in (1, "2", "3"))
    assert down.dedup_key == up.dedup_key != expiry.dedup_key
    assert [draft.action for draft in (down, up, expiry)] == [TRIGGER, RESOLVE, TRIGGER]
    assert [draft.severity for draft in (down, expiry)] == [Severity.CRITICAL, Severity.WARNING]
    assert silence("uptimerobot", json.dumps({**ROBOT, "alertType": "99"}).encode()) == "ignored"
    assert refused("uptimerobot", {**ROBOT, "alertType": "Down"}) == "alertType"
    named, again = ({**ROBOT, "monitorID": "*monitorID*", "alertType": kind} for kind in ("1", "2"))
    assert drafts("uptimerobot", named)[0].dedup_key == drafts("uptimerobot", again)[0].dedup_key
    assert refused("uptimerobot", {"monitorID": "*monitorID*", "alertType": "1"}) == "monitorID"
    assert refused("uptimerobot", b"") == "monitorID"


@pytest.mark.parametrize(
    ("state", "action"), [("DOWN", TRIGGER), ("failing", TRIGGER), ("UP", RESOLVE), ("SUCCESS", RESOLVE)]
)
def test_pingdom_states(state: str, action: Action) -> None:
    """Uptime and transaction checks; the importance is the severity."""
    (draft,) = drafts("pingdom", {"check_id": 7, "current_state": state, "importance_level": "HIGH"})
    assert (draft.action, draft.severity, draft.dedup_key) == (action, Severity.CRITICAL, "pingdom|7")
    assert drafts("pingdom", {"check_id": 7, "current_state": state})[0].severity is Severity.ERROR
    assert refused("pingdom", {"check_id": 7, "current_state": "BROKEN"}) == "current_state"


def test_betterstack_incidents_alone_are_alerts() -> None:
    """Monitors and calendars that change, and events of an incident that are neither beginning nor end, are not."""
    attributes = {"name": "Till", "cause": "Timeout", "resolved_at": "2026-11-02T08:15:00Z"}
    for event, action in (("started", TRIGGER), ("acknowledged", ACKNOWLEDGE), ("resolved", RESOLVE)):
        body = {"event": event, "data": {"id": 7, "type": "incident", "attributes": attributes}}
        (draft,) = drafts("betterstack", body)
        assert (draft.action, draft.dedup_key, draft.summary) == (action, "betterstack|7", "Till: Timeout")
        assert draft.ends_at == (1_793_607_300_000 if action is RESOLVE else 0)
    for event, kind in (("commented", "incident"), ("started", "monitor"), ("changed", "on_call_calendar")):
        body = {"event": event, "data": {"id": "7", "type": kind}}
        assert silence("betterstack", json.dumps(body).encode()) == "ignored"
    assert refused("betterstack", {"event": "started"}) == "data"


def kuma(status: object = 0, **monitor: object) -> Value:
    """A heartbeat of monitor 7."""
    return {"heartbeat": {"monitorID": 7, "status": status, "msg": "m"}, "monitor": {"name": "Till", **monitor}}


@pytest.mark.parametrize(
    ("monitor", "source"),
    [
        ({"url": "https://till.example.com", "hostname": "h"}, "https://till.example.com"),
        ({"url": "https://", "hostname": "h", "port": 25}, "h:25"),
        ({"url": None, "hostname": "h", "port": None}, "h"),
        ({"url": "http://"}, "Till"),
    ],
)
def test_uptimekuma_source_is_what_is_watched(monitor: Value, source: str) -> None:
    """Monitors of ports and pings have the text `https://` for a URL."""
    assert drafts("uptimekuma", kuma(**monitor))[0].source == source


def test_uptimekuma_json_multipart_and_query_say_the_same() -> None:
    """All three deliveries give the same alert; a broken part of a query is refused, not guessed at."""
    (by_json,) = drafts("uptimekuma", kuma())
    part = b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n%b\r\n--x--\r\n' % json.dumps(kuma()).encode()
    assert drafts("uptimekuma", part, None, {"content-type": "multipart/form-data; boundary=x"}) == [by_json]
    query = urlencode({**{name: json.dumps(value) for name, value in kuma().items()}, "integrationId": "secret"})
    (by_query,) = drafts("uptimekuma", b"", None, {QUERY: query})
    assert (by_query.dedup_key, by_query.summary) == (by_json.dedup_key, by_json.summary)
    assert b"secret" not in by_query.details
    with pytest.raises(BadBody) as caught:
        drafts("uptimekuma", b"", None, {QUERY: "msg=x&heartbeat=%7Bcut"})
    assert caught.value.path == "heartbeat"


def test_uptimekuma_states_and_messages_without_a_heartbeat() -> None:
    """Pending and maintenance say nothing; a warning keeps its key while the days go by; a test is a test."""
    assert [drafts("uptimekuma", kuma(status))[0].action for status in (0, "1")] == [TRIGGER, RESOLVE]
    for status in (2, 3):
        assert silence("uptimekuma", json.dumps(kuma(status)).encode()) == "ignored"
    assert refused("uptimekuma", kuma(9)) == "heartbeat.status"
    words = "[Till][https://a] server certificate a will expire in {} days"
    first, later = (drafts("uptimekuma", {"msg": words.format(days)})[0] for days in (14, 1))
    assert first.dedup_key == later.dedup_key
    assert first.severity is Severity.WARNING
    assert drafts("uptimekuma", {"msg": "Something else"})[0].severity is Severity.ERROR
    assert silence("uptimekuma", b'{"msg":"My Hook Testing"}') == "test"
    assert refused("uptimekuma", {"msg": None}) == "msg"


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({"eventvalue": "1"}, TRIGGER),
        ({"eventvalue": "1", "eventupdate": "0", "eventack": "Yes"}, TRIGGER),
        ({"eventvalue": "1", "eventupdate": "1", "eventack": "Yes"}, ACKNOWLEDGE),
        ({"eventvalue": "0", "eventupdate": "1", "eventack": "Yes"}, RESOLVE),
        ({"event_source": "1", "eventvalue": "0"}, TRIGGER),
        ({"event_source": "3"}, TRIGGER),
        ({"event_source": "4", "event_value": 0}, RESOLVE),
    ],
)
def test_zabbix_actions(fields: Value, action: Action) -> None:
    """Zabbix's own logic: value, update and acknowledgement; what is no trigger's event only triggers."""
    assert drafts("zabbix", {"eventid": "7", **fields})[0].action is action


@pytest.mark.parametrize(("number", "severity"), [(0, 1), ("1", 1), (2, 2), ("3", 2), ("4", 3), ("5", 4), ("High", 3)])
def test_zabbix_severities(number: object, severity: int) -> None:
    """Numbers 0 to 5 as Zabbix maps them for others, or its words."""
    assert drafts("zabbix", {"eventid": "7", "eventvalue": "1", "severity": number})[0].severity == severity


def test_zabbix_keys_of_receivers_are_not_kept() -> None:
    """The token of a media type's parameters is a secret; labels are the event's tags."""
    body = {"eventid": "7", "eventvalue": "1", "token": "s3cret", "eventtags": "a:1, b", "hostname": "{HOST.NAME}"}
    (draft,) = drafts("zabbix", body)
    assert b"s3cret" not in draft.details
    assert (draft.labels, draft.source) == ({"a": "1", "b": "true"}, "zabbix")
    assert refused("zabbix", {"eventid": "{EVENT.ID}", "eventvalue": "1"}) == "eventid"
    assert refused("zabbix", {"eventid": "7", "eventvalue": "2"}) == "eventvalue"


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("PROBLEM", TRIGGER),
        ("CUSTOM", TRIGGER),
        ("acknowledgement", ACKNOWLEDGE),
        ("RECOVERY", RESOLVE),
        ("FLAPPINGSTOP", None),
        ("FLAPPINGDISABLED", None),
        ("DOWNTIMECANCELLED", None),
    ],
)
def test_nagios_and_icinga_types(kind: str, action: Action | None) -> None:
    """Both tools have the same types of notifications."""
    bodies: dict[str, Value] = {
        "nagios": {"notification_type": kind, "host_name": "h", "state": "WARNING"},
        "icinga": {"notification_type": kind, "host": {"name": "h"}, "check_result": {"state": "WARNING"}},
    }
    for slug, body in bodies.items():
        if action is None:
            assert silence(slug, json.dumps(body).encode()) == "ignored"
        else:
            (draft,) = drafts(slug, body)
            assert (draft.action, draft.severity, draft.dedup_key) == (action, Severity.WARNING, f"{slug}|host|h")
        assert refused(slug, {**body, "notification_type": "PARTY"}) == "notification_type"


@pytest.mark.parametrize(
    ("state", "severity"), [("CRITICAL", 4), ("DOWN", 4), ("UNREACHABLE", 3), ("UNKNOWN", 2), ("OK", 1), ("UP", 1)]
)
def test_nagios_states_are_severities(state: str, severity: int) -> None:
    """Of services and hosts alike."""
    assert drafts("nagios", {"host_name": "h", "state": state})[0].severity == severity


def test_nagios_forms_survive_what_breaks_json() -> None:
    """Quotes, bars and line breaks of a plugin's output arrive; host and service never blur into each other."""
    output = 'DISK "CRITICAL" | free=8%\nnext line'
    body = urlencode({"host_name": "h", "service_desc": "$SERVICEDESC$", "state": "DOWN", "output": output}).encode()
    (draft,) = drafts("nagios", body, None, FORM)
    assert (draft.summary, draft.dedup_key) == (f"Host on h is DOWN: {output}", "nagios|host|h")
    pairs = (("a", "b|c"), ("a|b", "c"), ("a", ""))
    bodies = ({"host_name": host, "service_desc": service, "state": "OK"} for host, service in pairs)
    assert len({drafts("nagios", body)[0].dedup_key for body in bodies}) == 3


def test_icinga_without_a_type_follows_the_state() -> None:
    """UP and OK resolve, everything else triggers; the service's full name and its short one are one."""
    body = {"host": {"name": "h"}, "service": {"name": "h!disk"}, "check_result": {"state": "OK"}}
    (good,) = drafts("icinga", body)
    (bad,) = drafts("icinga", {**body, "service": {"name": "disk"}, "check_result": {"state": "CRITICAL"}})
    assert (good.action, bad.action) == (RESOLVE, TRIGGER)
    assert good.dedup_key == bad.dedup_key == "icinga|service|h|disk"
    assert refused("icinga", {"host": {"name": "h"}}) == "check_result.state"


def test_custom_needs_title_and_description() -> None:
    """The id makes repeats one; without it title, service and environment do."""
    body = {"title": "Till offline", "description": "No sale", "service": "till"}
    (draft,) = drafts("custom", {**body, "tags": ["a:1"], "severity": "low"})
    assert (draft.summary, draft.source, draft.labels) == ("Till offline: No sale", "till", {"a": "1"})
    assert draft.severity is Severity.INFO
    others = ({**body, "environment": "prod"}, {**body, "sourceAlertId": "Till offline"}, {**body, "service": "bar"})
    assert len({drafts("custom", other)[0].dedup_key for other in others} | {draft.dedup_key}) == 4
    assert drafts("custom", {**body, "description": "Still none"})[0].dedup_key == draft.dedup_key
    for name in ("title", "description"):
        assert refused("custom", {**body, name: "{{ x }}"}) == name
