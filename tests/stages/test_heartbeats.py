"""Heartbeats: who is missing when, what counts as a beat, and what an outage of ours does not do."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.control import Heartbeat, dump
from schemas.wire.alert import Alert, RawEvent
from schemas.wire.beat import HEARTBEAT, MONITOR, Beat, BeatEvent
from schemas.wire.codec import decode_alert, decode_beat, decode_block, encode
from schemas.wire.incident import Status
from schemas.wire.rows import ALERT_VALUES, AlertRow
from streams.control.state import Control
from streams.stages import heartbeats_entry
from streams.stages.heartbeats import AWAY_MS, PATIENCE_MS
from streams.stages.heartbeats_entry import unpack
from tests.stages.path import START, Path, control
from tests.stages.table import TableState

KEY = "c" * 32
#: The alert of kube-prometheus that always fires, in Alertmanager's webhook
#: (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config,
#: https://runbooks.prometheus-operator.dev/runbooks/general/watchdog/).
WATCHDOG = b"""{
  "receiver": "stormweir-heartbeat", "status": "firing", "version": "4", "truncatedAlerts": 0,
  "groupKey": "{}/{alertname=\\"Watchdog\\"}:{}", "externalURL": "http://alertmanager-main-0:9093",
  "groupLabels": {}, "commonLabels": {"alertname": "Watchdog", "prometheus": "monitoring/k8s", "severity": "none"},
  "commonAnnotations": {"summary": "An alert that should always be firing to certify that Alertmanager is working"},
  "alerts": [{
    "status": "firing",
    "labels": {"alertname": "Watchdog", "prometheus": "monitoring/k8s", "severity": "none"},
    "annotations": {"summary": "An alert that should always be firing to certify that Alertmanager is working"},
    "startsAt": "2026-11-20T08:00:14.413Z", "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus-k8s-0:9090/graph?g0.expr=vector%281%29&g0.tab=1",
    "fingerprint": "66a5c3ef4a3e5c5b"
  }]
}"""


def monitor(name: str = "backup", **more: Any) -> tuple[str, dict[str, Any]]:
    """A control record: five minutes, and no grace unless `more` says otherwise."""
    values = {"id": name, "tenant": "default", "service": "jobs", "every": 300, "grace": 0, "key": KEY, **more}
    return f"heartbeat/default/{name}", values


def armed(*records: tuple[str, dict[str, Any]]) -> Path:
    """A path with these monitors, armed at START."""
    path = Path(control(*(records or (monitor(),))))
    path.arm()
    return path


def beat(path: Path, name: str = "backup") -> None:
    """A request to the monitor's address, as the gateway puts it on `alerts.raw`."""
    raw = RawEvent("default", "jobs", f"heartbeat/{name}", HEARTBEAT, bytes(16), path.now, b"", {MONITOR: name})
    path.append(topics.ALERTS_RAW.name, encode(raw))
    path.run()


def watchdog(path: Path, status: str = "firing") -> None:
    """Alertmanager's webhook with the alert that always fires."""
    body = msgspec.json.decode(WATCHDOG)
    for each in (body, *body["alerts"]):
        each["status"] = status
    path.request("prometheus", body, service="monitoring")


def present(path: Path, until: int, every: int = 2_000) -> None:
    """A gateway reports from now until `until`, exclusive."""
    while path.now < until:
        path.append(topics.HEARTBEATS.name, encode(BeatEvent(Beat.PRESENT)), b"/")
        path.tick(min(every, until - path.now) / 1000)


def alerts(path: Path) -> list[Alert]:
    """What the stage gave, in order."""
    found = [decode_alert(record.value or b"") for record in path.logs[topics.ALERTS_NORMALIZED.name]]
    return [alert for alert in found if alert.provider == HEARTBEAT]


def actions(path: Path) -> list[str]:
    """The actions of these alerts."""
    return [alert.action.name for alert in alerts(path)]


def test_a_monitor_that_never_beats_is_missing_after_its_period() -> None:
    """Contract of arming: the configuration arms, no ping does; one millisecond before the deadline nothing is said."""
    path = armed(monitor(grace=60))
    path.tick(359.999)
    assert actions(path) == []
    path.tick(0.001)
    (alert,) = alerts(path)
    assert (alert.dedup_key, alert.service, alert.severity.name) == ("heartbeat/backup", "jobs", "CRITICAL")
    assert alert.summary == "No heartbeat from backup for 6 min, and none since it was configured"
    path.tick(3600)
    assert actions(path) == ["TRIGGER"], "missing is told once"
    assert path.incident.status is Status.OPEN


def test_a_beat_postpones_and_brings_back() -> None:
    """Missing is an incident, back is its resolve; missing again soon after is a new incident, and is told at once."""
    path = armed()
    path.tick(299)
    beat(path)
    path.tick(299.999)
    assert actions(path) == []
    path.tick(0.001)
    assert alerts(path)[0].summary == "No heartbeat from backup for 5 min"
    path.tick(20)
    beat(path)
    assert actions(path) == ["TRIGGER", "RESOLVE"]
    assert path.incident.status is Status.RESOLVED
    path.tick(300)
    assert actions(path) == ["TRIGGER", "RESOLVE", "TRIGGER"]
    assert [incident.status for incident in path.incidents.values()].count(Status.OPEN) == 1


def test_deleting_or_disabling_disarms_and_resolves() -> None:
    """What is open ends, what is armed never fires; enabling arms anew, for a whole period."""
    path = armed(monitor("gone"), monitor("off", key="d" * 32), monitor("calm", key="e" * 32, every=3600))
    path.tick(300)
    assert actions(path) == ["TRIGGER", "TRIGGER"]
    path.control.apply("heartbeat/default/gone", None)
    path.control.apply("heartbeat/default/calm", None)
    key, values = monitor("off", key="d" * 32)
    path.control.apply(key, msgspec.json.encode(values | {"enabled": False}))
    path.arm()
    assert actions(path) == ["TRIGGER", "TRIGGER", "RESOLVE", "RESOLVE"]
    assert {incident.status for incident in path.incidents.values()} == {Status.RESOLVED}
    beat(path, "off")
    path.tick(4 * 3600)
    assert len(actions(path)) == 4
    assert len(path.heartbeats_state) == 0
    path.control.apply(key, msgspec.json.encode(values))
    path.arm()
    path.tick(299.999)
    assert len(actions(path)) == 4
    path.tick(0.001)
    assert actions(path)[4:] == ["TRIGGER"]


def test_another_period_counts_from_the_change() -> None:
    """A shorter period does not make a monitor missing at once, a longer one counts at once."""
    path = armed(monitor(every=3600))
    path.tick(3000)
    key, values = monitor(every=60)
    path.control.apply(key, msgspec.json.encode(values))
    path.arm()
    path.tick(59.999)
    assert actions(path) == []
    path.tick(0.001)
    assert actions(path) == ["TRIGGER"]


def test_arming_again_changes_nothing() -> None:
    """A CONFIGURED that comes twice, or after a change of something else, leaves the deadline alone."""
    path = armed()
    path.tick(200)
    path.append(topics.HEARTBEATS.name, encode(BeatEvent(Beat.CONFIGURED, "default", "backup")), b"default/backup")
    path.run()
    before = len(path.logs[topics.HEARTBEATS.name])
    path.arm()
    assert len(path.logs[topics.HEARTBEATS.name]) == before
    path.tick(100)
    assert actions(path) == ["TRIGGER"]


def test_a_watchdog_of_alertmanager_is_a_beat() -> None:
    """Its webhook works unchanged: each notification is a beat and opens no incident; its resolve is no beat."""
    path = armed(monitor("prometheus", service="monitoring", key=None, match=['labels.alertname="Watchdog"']))
    for _ in range(3):
        path.tick(250)
        watchdog(path)
    assert (actions(path), path.incidents) == ([], {})
    path.tick(200)
    watchdog(path, "resolved")
    path.tick(100)
    (alert,) = alerts(path)
    assert (alert.dedup_key, alert.service) == ("heartbeat/prometheus", "monitoring")
    watchdog(path)
    assert path.incident.status is Status.RESOLVED
    assert _rules(path)[:5] == ["heartbeat:prometheus"] * 4 + [""]
    assert path.outcomes[:4] == ["suppressed"] * 4


def test_each_beat_by_an_alert_ends_once() -> None:
    """Two alerts in one request are two rows with numbers of their own, which a replay repeats; other alerts go on."""
    path = armed(monitor("up", key=None, match=['labels.alertname="Watchdog"']))
    body = msgspec.json.decode(WATCHDOG)
    other = msgspec.json.decode(msgspec.json.encode(body["alerts"][0]))
    other["labels"]["alertname"] = "DiskFull"
    second = msgspec.json.decode(msgspec.json.encode(body["alerts"][0]))
    second["labels"]["cluster"] = "b"
    body["alerts"] += [second, other]
    path.request("prometheus", body, waits=True)
    (block,) = [
        block
        for record in path.logs[topics.ALERTS_HISTORY.name]
        if (block := decode_block(record.value or b"")).stage == "normalize.raw"
    ]
    assert (block.offsets, len(block.rows)) == ([0, 1], 2)
    assert sorted(path.outcomes) == ["opened", "suppressed", "suppressed"]
    beats = [decode_beat(record.value or b"") for record in path.logs[topics.HEARTBEATS.name]]
    assert [event.kind for event in beats] == [Beat.CONFIGURED, Beat.BEAT], "one beat of a monitor for a batch"
    assert len(path.verdicts) == 3, "who waits is answered for each alert"


def test_producers_events_beat_too() -> None:
    """A trigger on `alerts.events` is a beat if it matches."""
    path = armed(monitor("up", key=None, match=['dedup_key="cron/nightly"']))
    path.tick(200)
    event = {"service": "jobs", "dedup_key": "cron/nightly", "action": "trigger", "summary": "ran", "source": "cron"}
    path.append(topics.ALERTS_EVENTS.name, msgspec.json.encode(event))
    path.run()
    path.tick(299)
    assert (actions(path), path.outcomes) == ([], ["suppressed"])


def test_monitors_of_another_tenant_see_nothing() -> None:
    """Conditions hold inside one tenant."""
    path = armed(("heartbeat/b/up", monitor("up", key=None, match=['summary=~".*"'])[1] | {"tenant": "b"}))
    path.push("trigger", "cpu")
    assert path.outcomes == ["opened"]


def test_beats_that_waited_are_counted_before_the_deadline() -> None:
    """Ten minutes without a worker: the beats are in the topic, and their time is the broker's, so nobody is told."""
    path = armed(monitor(every=60))
    for _ in range(10):
        path.now += 60_000 - 1
        raw = RawEvent("default", "jobs", "x", HEARTBEAT, bytes(16), path.now, b"", {MONITOR: "backup"})
        path.append(topics.ALERTS_RAW.name, encode(raw))
    last = path.now
    # The time of the stage is that of normalize, which has not moved before these records are processed.
    path.now = START
    path.run()
    path.now = last
    path.tick(59)
    assert actions(path) == []
    path.tick(1)
    assert actions(path) == ["TRIGGER"]


def test_an_outage_of_the_gateways_makes_nobody_missing() -> None:
    """Stream-intelligence 2, heartbeat: stop us 10 minutes, 0 false alarms; afterwards a whole period, and no more."""
    path = armed(monitor(every=60))
    present(path, START + 50_000)
    beat(path)
    path.tick(600)
    assert actions(path) == []
    back = path.now
    present(path, back + 59_000)
    assert actions(path) == []
    present(path, back + 70_000)
    assert actions(path) == ["TRIGGER"]


def test_an_outage_that_does_not_end_hides_nothing() -> None:
    """Without a gateway for longer than the patience, people are told."""
    path = armed()
    present(path, START + 10_000)
    path.tick(PATIENCE_MS / 1000 + 280)
    assert actions(path) == []
    path.tick(20)
    assert actions(path) == ["TRIGGER"]


def test_short_gaps_between_reports_are_no_outage() -> None:
    """A slow gateway does not postpone anything."""
    path = armed()
    present(path, START + 310_000, every=AWAY_MS)
    assert alerts(path)[0].received_at == START + 300_000


def test_without_reports_deadlines_hold() -> None:
    """Where all alerts come over Kafka there may be no gateway, and monitors work all the same."""
    path = armed()
    path.tick(300)
    assert actions(path) == ["TRIGGER"]


def test_a_crash_repeats_nothing() -> None:
    """A replay from the last durable state gives the same alerts, which dedup recognises by their origin."""
    records = [monitor(), monitor("other", key="d" * 32)]
    first, again = armed(*records), armed(*records)
    for path in (first, again):
        path.tick(300)
        beat(path)
    assert first.logs[topics.ALERTS_NORMALIZED.name] == again.logs[topics.ALERTS_NORMALIZED.name]
    ended = len(first.outcomes)
    first.replay_dedup()
    assert len(first.outcomes) == ended == 3


def test_a_table_that_is_lost_silences_nothing() -> None:
    """Dedup knows the numbers of the alerts before; those after are higher all the same."""
    path = armed()
    path.tick(300)
    path.tick(100)
    beat(path)
    path.heartbeats_state = TableState(heartbeats_entry.due)
    path.arm()
    path.tick(300)
    assert actions(path) == ["TRIGGER", "RESOLVE", "TRIGGER"]
    assert path.outcomes == ["opened", "resolved", "opened"]


def test_what_no_monitor_expects_is_ignored() -> None:
    """A beat of an unknown monitor, as after its deletion, leaves nothing behind."""
    path = Path()
    beat(path, "nobody")
    assert (len(path.heartbeats_state), path.dead_letters, actions(path)) == (0, [], [])


def test_an_unreadable_record_is_refused() -> None:
    """It becomes a dead letter by the engine, as a stage raises for it."""
    path = armed()
    path.append(topics.HEARTBEATS.name, b"\xc1", b"x")
    with pytest.raises(msgspec.DecodeError):
        path.run()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["beat", "off", "on"]), st.integers(0, 700)), max_size=30))
def test_any_history_agrees_with_the_definition(steps: list[tuple[str, int]]) -> None:
    """After any sequence of beats and switches: missing exactly if it is enabled and the period is over."""
    path = armed()
    key, values = monitor()
    enabled, since = True, START
    for what, seconds in steps:
        path.tick(seconds)
        if what == "beat":
            beat(path)
            since = path.now if enabled else since
        elif enabled != (what == "on"):
            enabled = what == "on"
            since = path.now
            path.control.apply(key, msgspec.json.encode(values | {"enabled": enabled}))
            path.arm()
        missing = any(unpack(value).missing_since for _, value in path.heartbeats_state.items())
        assert missing == (enabled and path.now - since >= 300_000)
        last = actions(path)[-1:]
        assert last == (["TRIGGER"] if missing else last and ["RESOLVE"])
    told = actions(path)
    assert told == ["TRIGGER", "RESOLVE"] * (len(told) // 2) + ["TRIGGER"] * (len(told) % 2)
    open_now = [incident for incident in path.incidents.values() if incident.status is not Status.RESOLVED]
    assert len(open_now) == len(told) % 2


def test_records_survive_the_topic() -> None:
    """What `apply` writes is read back as it was; the control state has it by tenant and id."""
    record = Heartbeat(id="x", service="jobs", every=60, match=('labels.alertname="Watchdog"',))
    state = Control()
    assert state.apply("heartbeat/default/x", dump(record)) is None
    assert state.every(Heartbeat) == {("default", "x"): record}
    refused = state.apply("heartbeat/default/y", b'{"id": "y", "service": "jobs", "every": 60}')
    assert refused is not None
    assert "needs a key, a match or both" in refused


def _rules(path: Path) -> list[str]:
    """The rule of every row, in the order they were written."""
    place = AlertRow.__struct_fields__.index("rule")
    header = b"\xdc" + ALERT_VALUES.to_bytes(2, "big")
    blocks = [decode_block(record.value or b"") for record in path.logs[topics.ALERTS_HISTORY.name]]
    return [msgspec.msgpack.decode(header + row)[place] for block in blocks for row in block.rows]
