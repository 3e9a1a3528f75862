"""What becomes of alerts on their way through normalize, dedup and correlate."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.control import FieldMapping
from schemas.fingerprint import uuid7
from schemas.records import AGAIN_HEADER
from schemas.wire.alert import Action, RawEvent, Severity
from schemas.wire.codec import decode_alert, decode_notification, decode_unique, encode
from schemas.wire.deadletter import DeadLetter
from schemas.wire.incident import Status
from schemas.wire.notification import Transition
from streams.engine import Loss
from streams.engine.losses import OutputTooLargeError
from streams.pipeline import lost, poison
from streams.stages import correlate_table, dispatch_table
from streams.stages.correlate import Correlate
from streams.stages.dedup_entry import REMEMBER_CLOSED_MS
from streams.stages.dispatch import Dispatch
from streams.stages.normalize import Normalize
from tests.stages.path import RETENTION_MS, Path, Rec, control
from tests.stages.table import TableState

PAGE = ("rule/default/page", {"id": "page", "match": ['severity=~"critical|error"'], "route": ["ops"]})
GROUPED = (
    "service/default/web",
    {"id": "web", "correlation": {"group_by": ["source"], "window": 300, "max_window": 600}},
)


def test_a_trigger_opens_one_incident_and_tells_its_route() -> None:
    """A first trigger is an open incident, a timeline line and one notification per route."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu", "critical")
    assert path.outcomes == ["opened"]
    assert (path.incident.status, path.incident.severity, path.incident.title) == (
        Status.OPEN, Severity.CRITICAL, "cpu is broken",
    )  # fmt: skip
    assert [event.kind for event in path.events] == ["triggered"]
    assert [(n.transition, n.destination) for n in path.notifications] == [(Transition.TRIGGERED, "ops")]


def test_repeats_in_the_window_fold_into_one_update() -> None:
    """Repeats within 60 s change nothing downstream until the window ends, then one update counts them all."""
    path = Path()
    for _ in range(5):
        path.push("trigger", "cpu")
        path.now += 1000
    assert path.outcomes == ["opened", *["deduplicated"] * 4]
    assert len(path.logs[topics.ALERTS_UNIQUE.name]) == 1
    path.tick(60)
    assert path.incident.repeat_count == 4
    assert path.incident.alert_count == 5
    path.tick(120)
    assert len(path.logs[topics.ALERTS_UNIQUE.name]) == 2, "told once"


def test_folded_repeats_are_told_once_a_window() -> None:
    """While a key fires on, each window ends with one update that counts its repeats."""
    path = Path()
    path.push("trigger", "cpu")
    for _ in range(5):
        path.now += 25_000
        path.push("trigger", "cpu")
    assert path.incident.repeat_count == 4, "two windows of 60 s are over"
    path.tick(60)
    assert path.outcomes == ["opened", *["deduplicated"] * 5]
    assert path.incident.repeat_count == 5
    assert len(path.logs[topics.ALERTS_UNIQUE.name]) == 4


def test_a_repeat_after_a_quiet_window_passes_at_once() -> None:
    """A key that fires again after a window without repeats is told without waiting."""
    path = Path()
    path.push("trigger", "cpu")
    path.now += 61_000
    path.push("trigger", "cpu")
    assert path.outcomes == ["opened", "deduplicated"]
    assert path.incident.repeat_count == 1
    assert len(path.logs[topics.ALERTS_UNIQUE.name]) == 2


def test_a_higher_severity_passes_at_once() -> None:
    """A repeat that is worse than before raises the incident without waiting for the window."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu", "warning")
    path.push("trigger", "cpu", "critical")
    assert path.incident.severity == Severity.CRITICAL
    assert [event.kind for event in path.events] == ["triggered", "escalated"]


def test_resolve_closes_and_a_new_trigger_opens_another() -> None:
    """After resolve, the same key is a new incident with another id."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.now += 1000
    path.push("resolve", "cpu")
    path.now += 1000
    path.push("trigger", "cpu")
    statuses = [incident.status for incident in path.incidents.values()]
    assert statuses == [Status.RESOLVED, Status.OPEN]
    assert path.outcomes == ["opened", "resolved", "opened"]
    assert [n.transition for n in path.notifications] == ["triggered", "resolved", "triggered"]
    assert len({n.notification_id for n in path.notifications}) == 3


def test_acknowledge_is_taken_once() -> None:
    """A second acknowledge changes nothing and tells nobody."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.push("acknowledge", "cpu")
    path.push("acknowledge", "cpu")
    assert path.incident.status == Status.ACKNOWLEDGED
    assert path.outcomes == ["opened", "acknowledged", "acknowledged"]
    assert [n.transition for n in path.notifications] == ["triggered", "acknowledged"]


def test_resolve_of_an_unknown_key_is_unmatched() -> None:
    """A resolve without a trigger makes no incident."""
    path = Path()
    path.push("resolve", "cpu")
    path.push("resolve", "cpu")
    path.push("acknowledge", "disk")
    assert path.outcomes == ["unmatched", "unmatched", "unmatched"]
    assert not path.incidents


def test_services_and_keys_do_not_mix() -> None:
    """The same key in two services is two incidents."""
    path = Path()
    path.push("trigger", "cpu", service="a")
    path.push("trigger", "cpu", service="b")
    assert len(path.incidents) == 2


def test_grouped_alerts_form_one_incident_that_ends_with_its_last_member() -> None:
    """Alerts of one source in the window join; the incident resolves when all members did."""
    path = Path(control(GROUPED, PAGE))
    for key in ("cpu", "disk", "net"):
        path.push("trigger", key)
        path.now += 1000
    assert path.outcomes == ["opened", "correlated", "correlated"]
    assert path.incident.member_count == 3
    path.push("resolve", "cpu")
    path.push("resolve", "net")
    assert path.incident.status == Status.OPEN
    path.push("resolve", "disk")
    assert path.incident.status == Status.RESOLVED
    assert [n.transition for n in path.notifications] == ["triggered", "resolved"]


def test_a_group_rolls_only_up_to_its_longest_window() -> None:
    """Each member extends the window, but 600 s after the opening a new incident begins."""
    path = Path(control(GROUPED))
    for number in range(5):
        path.push("trigger", f"k{number}")
        path.now += 200_000
    assert path.outcomes == ["opened", "correlated", "correlated", "correlated", "opened"]
    assert len(path.incidents) == 2
    path.push("resolve", "k0")
    path.push("resolve", "k4")
    assert sorted(i.status for i in path.incidents.values()) == [Status.OPEN, Status.RESOLVED]


def test_what_is_said_and_kept_has_the_records_time_where_the_partitions_stands_still() -> None:
    """Until every stage before it has told its time a partition's is 0: neither a retention nor a page follows that."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    stage, state = Correlate(path.control, RETENTION_MS), TableState(correlate_table.due)
    list(stage(state, path.logs[topics.ALERTS_UNIQUE.name], 0))
    outputs = Dispatch(path.control)(TableState(dispatch_table.due), path.logs[topics.INCIDENTS_CHANGES.name], 0)
    sent = [decode_notification(out.value or b"") for out in outputs if out.topic == topics.NOTIFICATIONS.name]
    assert {notification.queued_at for notification in sent} == {path.now}
    assert not state.armed(path.now + RETENTION_MS - 1)
    assert state.armed(path.now + RETENTION_MS)


def test_suppressed_alerts_are_kept_and_tell_nobody() -> None:
    """A suppress rule ends the alert as suppressed: no incident, no notification, one row."""
    quiet = ("rule/default/quiet", {"id": "quiet", "match": ['severity="info"'], "suppress": True})
    path = Path(control(quiet, PAGE))
    path.push("trigger", "cpu", "info")
    assert path.outcomes == ["suppressed"]
    assert not path.incidents
    assert not path.notifications


QUIET = ("rule/default/quiet", {"id": "quiet", "match": ['severity="info"'], "suppress": True})


def test_repeats_count_at_the_severity_that_rules_gave() -> None:
    """A rule lowers critical to info; folded repeats do not raise the incident again and notify nobody."""
    lower = ("rule/default/lower", {"id": "lower", "order": 1, "severity": "info"})
    path = Path(control(lower, ("rule/default/all", {"id": "all", "route": ["ops"]})))
    for _ in range(3):
        path.push("trigger", "cpu", "critical")
    path.tick(60)
    path.now += 200_000
    path.push("trigger", "cpu", "critical")
    assert (path.incident.severity, path.incident.repeat_count) == (Severity.INFO, 3)
    assert [event.kind for event in path.events] == ["triggered"]
    assert [n.transition for n in path.notifications] == ["triggered"]


def test_suppressed_repeats_and_the_resolve_end_suppressed() -> None:
    """Whatever follows a suppressed trigger ends as it did."""
    path = Path(control(QUIET))
    path.push("trigger", "cpu", "info")
    path.push("trigger", "cpu", "info")
    path.push("acknowledge", "cpu")
    path.tick(300)
    path.push("trigger", "cpu", "info")
    path.push("resolve", "cpu")
    assert path.outcomes == ["suppressed"] * 5
    assert not path.incidents


def test_what_was_suppressed_is_not_counted_when_the_rule_goes() -> None:
    """The first repeat after the window opens the incident, and counts as its first alert."""
    path = Path(control(QUIET))
    for _ in range(5):
        path.push("trigger", "cpu", "info")
    path.control.apply("rule/default/quiet", None)
    path.push("trigger", "cpu", "info")
    assert path.outcomes == ["suppressed"] * 6, "what was decided holds for the window"
    path.now += 61_000
    path.push("trigger", "cpu", "info")
    assert path.outcomes[-1] == "opened"
    assert (path.incident.alert_count, path.incident.repeat_count) == (1, 0)


def test_a_destination_that_a_later_member_brings_hears_the_trigger_first() -> None:
    """A member that is routed elsewhere tells that destination of the incident, and both of its end."""
    disk = ("rule/default/disk", {"id": "disk", "match": ['dedup_key="disk"'], "route": ["storage"]})
    cpu = ("rule/default/cpu", {"id": "cpu", "match": ['dedup_key="cpu"'], "route": ["ops"]})
    path = Path(control(GROUPED, disk, cpu))
    path.push("trigger", "cpu", "warning")
    path.push("trigger", "disk", "critical")
    assert [(n.destination, n.transition) for n in path.notifications] == [
        ("ops", "triggered"), ("ops", "escalated"), ("storage", "triggered"),
    ]  # fmt: skip
    path.push("resolve", "cpu")
    path.push("resolve", "disk")
    assert [(n.destination, n.transition) for n in path.notifications[3:]] == [
        ("ops", "resolved"), ("storage", "resolved"),
    ]  # fmt: skip
    assert len({n.notification_id for n in path.notifications}) == 5


def test_a_group_with_many_open_incidents_keeps_small_values() -> None:
    """Each incident has an entry of its own, however many of a group are open, and each still ends."""
    path = Path(control(GROUPED))
    for number in range(50):
        path.push("trigger", f"k{number}")
        path.now += 1_000_000
    assert len(path.incidents) == 50
    assert max(len(value) for _, value in path.correlation_state.items()) < 400
    for number in range(50):
        path.push("resolve", f"k{number}")
    assert {incident.status for incident in path.incidents.values()} == {Status.RESOLVED}


def test_a_resolved_incident_leaves_the_compacted_topic_after_its_retention() -> None:
    """Who reads `incidents` from the start finds what is alive: the others' records are deleted."""
    path = Path()
    path.push("trigger", "cpu")
    path.push("trigger", "disk")
    path.push("resolve", "cpu")
    path.tick(RETENTION_MS / 1000 - 1)
    assert all(record.value is not None for record in path.logs[topics.INCIDENTS.name])
    path.tick(2)
    tombstones = [record.key for record in path.logs[topics.INCIDENTS.name] if record.value is None]
    assert tombstones == [i.incident_id for i in path.incidents.values() if i.status is Status.RESOLVED]


def test_history_keeps_the_severity_before_rules_as_well() -> None:
    """What a rule made of a trigger and what its sender said are both in its row; without a rule they are equal."""
    lower = ("rule/default/lower", {"id": "lower", "match": ['source="host-1"'], "severity": "info"})
    ruled, plain = Path(control(lower)), Path()
    ruled.push("trigger", "cpu", "critical")
    plain.push("trigger", "cpu", "error")
    assert ruled.severities == [(Severity.INFO, Severity.CRITICAL)]
    assert plain.severities == [(Severity.ERROR, Severity.ERROR)]


def test_rules_set_severity_and_labels_in_order() -> None:
    """Rules apply in their order; the last severity wins."""
    first = ("rule/default/a", {"id": "a", "order": 1, "match": ['source="host-1"'], "severity": "warning"})
    second = ("rule/default/b", {"id": "b", "order": 2, "severity": "critical", "labels": {"team": "web"}})
    path = Path(control(first, second))
    path.push("trigger", "cpu", "info")
    assert path.incident.severity == Severity.CRITICAL
    assert path.incident.labels == {"team": "web"}


def test_a_replayed_record_is_counted_once() -> None:
    """What a crashed normalizer sent twice is dropped by its origin: same rows, same counts."""
    path = Path(control(PAGE))
    for _ in range(3):
        path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    before = (path.outcomes, path.incident, path.notifications)
    path.replay_dedup()
    assert (path.outcomes, path.incident, path.notifications) == before


def test_bad_records_are_dead_letters_with_a_reason() -> None:
    """An undecodable request or event names its stage and reason, and the others go on."""
    path = Path()
    path.append(topics.ALERTS_RAW.name, b"\xff\xff")
    path.append(topics.ALERTS_EVENTS.name, b'{"service": "web"}')
    path.append(topics.ALERTS_EVENTS.name, b'{"service": "web", "dedup_key": "k", "summary": "s"}')
    path.run()
    assert [(letter.stage, letter.reason) for letter in path.dead_letters] == [
        ("normalize", "bad_body"), ("normalize", "bad_event"),
    ]  # fmt: skip
    assert "dedup_key" in path.dead_letters[1].error
    assert path.outcomes == ["opened"]


def test_a_closed_key_is_forgotten_after_an_hour() -> None:
    """The table does not keep what is over."""
    path = Path()
    path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    assert len(path.dedup_state) == 1
    path.tick(REMEMBER_CLOSED_MS / 1000 + 2)
    assert len(path.dedup_state) == 0
    assert len(path.correlation_state) == 1, "its record on the topic incidents is still to be deleted"
    path.tick(RETENTION_MS / 1000)
    assert len(path.correlation_state) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("tar"), st.integers(0, 3), st.integers(0, 90)), max_size=40))
def test_every_alert_ends_once_and_incidents_add_up(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens, each alert has one row, and incident counts equal the rows that name incidents."""
    path = Path(control(GROUPED, PAGE))
    words = {"t": "trigger", "a": "acknowledge", "r": "resolve"}
    for action, key, pause in steps:
        path.now += pause * 1000
        path.push(words[action], f"k{key}")
    path.tick(3600)
    assert len(path.outcomes) == len(steps)
    counted = sum(path.outcomes.count(name) for name in ("opened", "correlated", "deduplicated"))
    assert sum(incident.alert_count for incident in path.incidents.values()) == counted
    open_ids = {i.incident_id for i in path.incidents.values() if i.status != Status.RESOLVED}
    kept = {
        msgspec.msgpack.decode(value[1:])[0][1]
        for key, value in path.correlation_state.items()
        if key.startswith(b"incident:")
    }
    assert kept == open_ids


@pytest.mark.parametrize("seed", range(5))
def test_batches_of_any_size_give_the_same_incidents(seed: int) -> None:
    """State does not depend on how records were batched."""
    random_ = random.Random(seed)
    one, many = Path(control(PAGE)), Path(control(PAGE))
    for _ in range(200):
        action = random_.choices(["trigger", "resolve", "acknowledge"], [6, 2, 1])[0]
        one.push(action, f"k{random_.randrange(10)}")
        one.now += random_.randrange(20_000)
    for record in one.logs[topics.ALERTS_RAW.name]:
        many.logs[topics.ALERTS_RAW.name].append(record)
    many.now = one.now
    many.run()
    one.tick(60)
    many.tick(60)
    assert sorted(one.outcomes) == sorted(many.outcomes)
    assert {k: (v.status, v.alert_count) for k, v in one.incidents.items()} == {
        k: (v.status, v.alert_count) for k, v in many.incidents.items()
    }


def test_a_poison_record_names_where_its_alert_came_in() -> None:
    """A stage that fails on an alert leaves a dead letter of the alert's own origin, so the books balance."""
    path = Path()
    path.push("trigger", "cpu")
    (record,) = path.logs[topics.ALERTS_UNIQUE.name]
    output = poison("correlate", lambda value: decode_unique(value).alert)(record, KeyError("x"), path.now)
    letter = DeadLetter.read(output.key, output.value, list(output.headers))
    assert (letter.stage, letter.reason, letter.topic, letter.offset) == ("correlate", "KeyError", "alerts.raw", 0)
    large = poison("correlate")(record, OutputTooLargeError("incidents", 9, 5), path.now)
    letter = DeadLetter.read(large.key, large.value, list(large.headers))
    assert (letter.reason, letter.error) == ("output_too_large", "incidents takes no record of 9 bytes: at most 5")
    garbage = path.append(topics.ALERTS_UNIQUE.name, b"\xff")
    output = poison("correlate", lambda value: decode_unique(value).alert)(garbage, KeyError("x"), path.now)
    assert DeadLetter.read(output.key, output.value, list(output.headers)).topic == topics.ALERTS_UNIQUE.name


def test_what_the_engine_lost_is_a_dead_letter_by_reference() -> None:
    """It names the agent, both offsets and the reason, has no body, and lies by its key or else by its place."""
    loss = Loss("dedup", "output_too_large", "too much", topics.ALERTS_NORMALIZED.name, 2, 5, 9, b"key")
    output = lost(loss, 77)
    assert (output.topic, output.key, output.value) == (topics.DEADLETTERS.name, b"key", b"")
    letter = DeadLetter.read(output.key, output.value, list(output.headers))
    assert letter == DeadLetter(
        "dedup", "output_too_large", "too much", loss.topic, 2, 5, 77, b"key", b"", last_offset=9
    )
    assert lost(loss._replace(key=b""), 77).key == b"5"


def test_a_request_is_read_by_the_mapping_it_was_accepted_under() -> None:
    """The stage knows no integration: a resolve in the sender's own words stays one when its integration is gone."""
    mapping = FieldMapping(summary="Name", dedup_key="URL", action="Status", resolve_values=("Up",))
    body = b'{"Name":"Till","URL":"till","Status":"Up"}'
    raw = RawEvent("default", "web", "0" * 32, "webhook", uuid7(), 1, body, {}, mapping.wire)
    default = RawEvent("default", "web", "0" * 32, "webhook", uuid7(), 1, body, {}, FieldMapping().wire)
    older = msgspec.msgpack.encode(list(msgspec.structs.astuple(default))[:-1])
    broken = RawEvent("default", "web", "0" * 32, "webhook", uuid7(), 1, body, {}, b'{"sumary":"x"}')
    records = [
        Rec(topics.ALERTS_RAW.name, 0, offset, 1, None, value)
        for offset, value in enumerate([encode(raw), encode(default), older, encode(broken)])
    ]
    outputs = list(Normalize(control()).requests(None, records, 1))
    alerts = [decode_alert(out.value or b"") for out in outputs if out.topic == topics.ALERTS_NORMALIZED.name]
    assert [(alert.action, alert.dedup_key, alert.summary) for alert in alerts[:1]] == [
        (Action.RESOLVE, "till", "Till")
    ]
    assert [alert.action for alert in alerts[1:]] == [Action.TRIGGER, Action.TRIGGER]
    (letter,) = [out for out in outputs if out.topic == topics.DEADLETTERS.name]
    assert "mapping: sumary" in DeadLetter.read(letter.key, letter.value, list(letter.headers)).error
    assert default.mapping == b""


@pytest.mark.parametrize("topic", [topics.ALERTS_NORMALIZED, topics.ALERTS_UNIQUE, topics.INCIDENTS_CHANGES])
def test_a_record_that_is_put_back_counts_although_later_ones_were_processed(topic: topics.Topic) -> None:
    """A replayed dead letter is no copy: its stage never processed it, only records after it."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.push("trigger", "disk")
    record = path.logs[topic.name][0]
    whole, missed = Path(control(PAGE)), Path(control(PAGE))
    for each in (whole, missed):
        for later in path.logs[topic.name][1:]:
            each.append(topic.name, later.value, later.key)
        each.run()
    before = len(whole.notifications)
    whole.append(topic.name, record.value, record.key, [(AGAIN_HEADER, b"1")])
    whole.run()
    assert len(whole.notifications) == before + 1
    missed.append(topic.name, record.value, record.key)
    missed.run()
    assert len(missed.notifications) == before, "a copy changes nothing"
