"""What a person's commands do to incidents, in one order with the incidents' alerts."""

from collections import defaultdict
from copy import deepcopy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.fingerprint import uuid7
from schemas.wire.codec import DecodeError, decode_command, decode_incident, decode_unique, decode_verdict, encode
from schemas.wire.command import COMMAND_HEADER, MAX_ACTOR, MAX_NOTE, CommandAction, CommandEnd
from schemas.wire.deadletter import DeadLetter
from schemas.wire.incident import Incident, Status
from schemas.wire.verdict import ReplyTo
from streams.pipeline import poison
from streams.policy.incidents import WORDS
from streams.stages import correlate_table
from streams.stages.commands import REMEMBERED
from streams.stages.correlate import Correlate
from tests.stages.path import RETENTION_MS, START, Path, Rec, control
from tests.stages.table import TableState

ACK, UNACK, RESOLVE, NOTE, _, _ = CommandAction
DONE, ALREADY, NOT_FOUND, _ = CommandEnd
PAGE = ("rule/default/page", {"id": "page", "route": ["ops"]})
GROUPED = (
    "service/default/web",
    {"id": "web", "correlation": {"group_by": ["source"], "window": 300, "max_window": 600}},
)

#: A configuration, as keys and values.
Records = tuple[tuple[str, dict[str, object]], ...]


def _states(path: Path) -> list[Status]:
    return [incident.status for incident in path.incidents.values()]


def test_an_incident_is_acknowledged_by_a_person() -> None:
    """Actor, note and command are in the timeline, destinations are told, and the answer has the new version."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.now += 5000
    command_id = uuid7(path.now)
    result = path.command(ACK, path.incident, by="slack:U1 (Ada)", note="on it", command_id=command_id)
    assert (result.end, result.version, result.status, result.title) == (DONE, 2, "acknowledged", "cpu is broken")
    assert (path.incident.status, path.incident.acknowledged_at) == (Status.ACKNOWLEDGED, path.now)
    line = path.events[-1]
    assert (line.kind, line.actor, line.note, line.event_id) == ("acknowledged", "slack:U1 (Ada)", "on it", command_id)
    assert (line.version, line.from_status, line.to_status, line.at) == (2, "open", "acknowledged", path.now)
    assert [n.transition for n in path.notifications] == ["triggered", "acknowledged"]


def test_a_second_person_hears_that_it_is_done_already() -> None:
    """An acknowledge of an acknowledged incident changes nothing and tells nobody."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.command(ACK, path.incident)
    before = path.incident, path.events, path.notifications
    result = path.command(ACK, path.incident, by="cli:bob")
    assert (result.end, result.version, result.status) == (ALREADY, 2, "acknowledged")
    assert (path.incident, path.events, path.notifications) == before


def test_an_acknowledge_is_taken_back() -> None:
    """The incident is open again, and can be acknowledged again; nobody is notified of the step back."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    assert path.command(UNACK, path.incident).end is ALREADY
    path.command(ACK, path.incident)
    result = path.command(UNACK, path.incident, by="cli:bob")
    assert (result.end, result.version, result.status) == (DONE, 3, "open")
    assert (path.incident.status, path.incident.acknowledged_at) == (Status.OPEN, 0)
    assert (path.events[-1].kind, path.events[-1].actor) == ("unacknowledged", "cli:bob")
    assert path.command(ACK, path.incident).version == 4
    assert [n.transition for n in path.notifications] == ["triggered", "acknowledged", "unacknowledged", "acknowledged"]


def test_a_note_is_a_line_in_the_timeline() -> None:
    """It changes no state and tells nobody; two with the same text are two lines."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    text = "{{ 7*7 }} <!channel> =cmd() \r\nX: 1"
    assert [path.command(NOTE, path.incident, note=text).version for _ in range(2)] == [2, 3]
    assert path.incident.status is Status.OPEN
    assert [(line.kind, line.note, line.to_status) for line in path.events[1:]] == [("note", text, "open")] * 2
    assert [n.transition for n in path.notifications] == ["triggered"]


def test_a_person_resolves_once() -> None:
    """Destinations hear it; another resolve is done already, other commands find no such open incident."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    incident = path.incident
    assert path.command(RESOLVE, incident).version == 2
    assert path.incident.status is Status.RESOLVED
    again = path.command(RESOLVE, incident, by="cli:bob")
    assert (again.end, again.version, again.status) == (ALREADY, 2, "resolved")
    late = path.command(ACK, incident)
    assert (late.end, late.status, late.title) == (NOT_FOUND, "resolved", "cpu is broken")
    assert [n.transition for n in path.notifications] == ["triggered", "resolved"]


def test_what_its_alert_resolved_is_resolved_already() -> None:
    """The alert's resolve came first: the person's changes nothing."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    result = path.command(RESOLVE, path.incident)
    assert (result.end, result.status) == (ALREADY, "resolved")
    assert path.command(NOTE, path.incident, note="x").end is NOT_FOUND
    assert [line.kind for line in path.events] == ["triggered", "resolved"]


def test_an_incident_is_found_by_all_its_names() -> None:
    """Another id, another key and another tenant find nothing, and learn nothing."""
    path = Path()
    path.push("trigger", "cpu")
    incident = path.incident
    fields = {name: getattr(incident, name) for name in incident.__struct_fields__}
    for other in ({"incident_id": bytes(16)}, {"correlation_key": bytes(16)}, {"tenant": "acme"}):
        result = path.command(ACK, Incident(**{**fields, **other}))
        assert (result.end, result.version, result.status, result.title) == (NOT_FOUND, 0, "", "")
    path.command(RESOLVE, incident)
    stranger = path.command(RESOLVE, Incident(**{**fields, "tenant": "acme"}))
    assert (stranger.end, stranger.title) == (NOT_FOUND, "")
    assert path.incident.status is Status.RESOLVED


@pytest.mark.parametrize("action", [ACK, UNACK, RESOLVE, NOTE])
def test_a_command_takes_effect_once(action: CommandAction) -> None:
    """A second record with the same id, right after it or after other commands, changes nothing; it is done."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    if action is UNACK:
        path.command(ACK, path.incident)
    command_id = uuid7(path.now)
    first = path.command(action, path.incident, note="x", command_id=command_id)
    assert first.end is DONE
    assert path.command(action, path.incident, note="x", command_id=command_id) == first
    if action is not RESOLVE:
        for _ in range(REMEMBERED - 1):
            path.command(NOTE, path.incident, note="more")
    before = path.incident, path.events, path.notifications
    assert path.command(action, path.incident, note="x", command_id=command_id).end is DONE
    assert (path.incident, path.events, path.notifications) == before


def test_a_command_that_changed_nothing_takes_no_effect_later() -> None:
    """A second acknowledgement changes nothing; nor when it comes again after the first has ended."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    path.command(ACK, path.incident)
    command_id = uuid7(path.now)
    assert path.command(ACK, path.incident, command_id=command_id).end is ALREADY
    path.command(UNACK, path.incident)
    path.command(ACK, path.incident, command_id=command_id)
    assert path.incident.status is Status.OPEN


def test_remembered_ids_are_bounded() -> None:
    """A thousand commands leave an entry with the newest ids only."""
    path = Path()
    path.push("trigger", "cpu")
    for _ in range(1000):
        path.command(NOTE, path.incident, note="x")
    table = correlate_table.Table(path.correlation_state)
    found = table.find(path.incident.correlation_key, path.incident.incident_id)
    assert found is not None
    assert len(found.commands) == REMEMBERED
    assert path.incident.version == 1001


def test_a_worker_that_dies_with_a_command_repeats_the_same() -> None:
    """The state of before and the same records give the same outputs, and with the state of after no more."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    incident = path.incident
    before = deepcopy(path.correlation_state)
    start = len(path.logs[topics.ALERTS_UNIQUE.name])
    for action in (ACK, NOTE, RESOLVE):
        path.now += 1000
        path.command(action, incident, note="x")
    records = path.logs[topics.ALERTS_UNIQUE.name][start:]
    stage = Correlate(path.control, RETENTION_MS)
    once = [output for record in records for output in stage(before, [record], record.timestamp)]
    assert dict(before.items()) == dict(path.correlation_state.items())
    told = {topic: [o.value for o in once if o.topic == topic] for topic in {o.topic for o in once}}
    for topic, values in told.items():
        assert [record.value for record in path.logs[topic]][-len(values) :] == values
    again = [output for record in records for output in stage(before, [record], record.timestamp)]
    assert {output.topic for output in again} == {topics.REPLIES.name}


def test_a_group_is_one_incident_for_people() -> None:
    """A command reaches the incident of a group; a resolve ends it with all its members."""
    path = Path(control(PAGE, GROUPED))
    for key in ("cpu", "disk", "fan"):
        path.push("trigger", key)
    assert path.command(ACK, path.incident).end is DONE
    path.now += 1000
    assert path.command(RESOLVE, path.incident).end is DONE
    assert _states(path) == [Status.RESOLVED]
    for key in ("cpu", "disk", "fan"):
        path.push("resolve", key)
    assert _states(path) == [Status.RESOLVED]
    assert path.outcomes[-3:] == ["unmatched"] * 3
    assert len(path.correlation_state) == 1, "only the id of the resolved incident is kept"
    assert [n.transition for n in path.notifications] == ["triggered", "acknowledged", "resolved"]


def test_after_a_resolve_a_new_alert_of_the_group_opens_another() -> None:
    """The group's window is still open, but its incident is not."""
    path = Path(control(GROUPED))
    path.push("trigger", "cpu")
    path.command(RESOLVE, path.incident)
    path.now += 1000
    path.push("trigger", "disk")
    assert _states(path) == [Status.RESOLVED, Status.OPEN]


@pytest.mark.parametrize("records", [(PAGE,), (PAGE, GROUPED)], ids=["single", "group"])
class TestAnAlertThatFiresOn:
    """A person resolved the incident, the sender did not."""

    def resolved(self, records: Records) -> Path:
        """An incident with two repeats in its window, resolved by a person."""
        path = Path(control(*records))
        for _ in range(3):
            path.push("trigger", "cpu")
            path.now += 1000
        path.command(RESOLVE, path.incident)
        path.now += 1000
        return path

    def test_silence_stays_silent(self, records: Records) -> None:
        """The repeats from before the resolve are told when their window ends, and open nothing."""
        path = self.resolved(records)
        path.tick(3600)
        assert _states(path) == [Status.RESOLVED]

    def test_a_repeat_opens_when_its_window_ends(self, records: Records) -> None:
        """The new incident has the title, the destinations and the key of the old one, and counts from now on."""
        path = self.resolved(records)
        path.push("trigger", "cpu")
        assert _states(path) == [Status.RESOLVED]
        path.tick(60)
        old, new = path.incidents.values()
        assert (old.status, new.status) == (Status.RESOLVED, Status.OPEN)
        assert (new.title, new.service, new.dedup_key, new.source) == (
            old.title, old.service, old.dedup_key, old.source,
        )  # fmt: skip
        assert (new.version, new.alert_count, new.repeat_count) == (1, 1, 0)
        assert [n.transition for n in path.notifications] == ["triggered", "resolved", "triggered"]
        for _ in range(2):
            path.push("trigger", "cpu")
        path.tick(60)
        assert list(path.incidents.values())[1].repeat_count == 2
        path.push("resolve", "cpu")
        assert _states(path) == [Status.RESOLVED, Status.RESOLVED]
        assert len(path.outcomes) == 7, "one row an alert, none for the opening by a count"

    def test_a_repeat_after_a_quiet_window_opens_at_once(self, records: Records) -> None:
        """Dedup passes it on, with the alert itself."""
        path = self.resolved(records)
        path.tick(180)
        path.push("trigger", "cpu")
        assert _states(path) == [Status.RESOLVED, Status.OPEN]
        assert path.outcomes[-1] == "opened"
        assert list(path.incidents.values())[1].repeat_count == 0
        path.push("trigger", "cpu")
        path.tick(60)
        assert list(path.incidents.values())[1].repeat_count == 1

    def test_a_higher_severity_opens_at_once(self, records: Records) -> None:
        """As it would have escalated the open incident."""
        path = self.resolved(records)
        path.push("trigger", "cpu", "critical")
        assert _states(path) == [Status.RESOLVED, Status.OPEN]

    def test_a_request_that_waits_opens_at_once(self, records: Records) -> None:
        """It hears the new incident's id."""
        path = self.resolved(records)
        path.push("trigger", "cpu", waits=True)
        assert _states(path) == [Status.RESOLVED, Status.OPEN]
        assert path.verdicts[-1].incident_id == list(path.incidents)[1]

    def test_the_senders_resolve_ends_it(self, records: Records) -> None:
        """It matches no incident, and the next trigger is new."""
        path = self.resolved(records)
        path.push("resolve", "cpu")
        assert path.outcomes[-1] == "unmatched"
        path.now += 1000
        path.push("trigger", "cpu")
        assert _states(path) == [Status.RESOLVED, Status.OPEN]

    def test_after_the_retention_only_the_alert_is_left(self, records: Records) -> None:
        """The record of the incident is deleted; a repeat opens another incident all the same."""
        path = self.resolved(records)
        path.tick(RETENTION_MS / 1000 + 1)
        assert path.logs[topics.INCIDENTS.name][-1].value is None
        path.push("trigger", "cpu")
        assert _states(path) == [Status.RESOLVED, Status.OPEN]


def test_two_members_of_a_group_that_fire_on_are_one_incident_again() -> None:
    """The first opens it when its window ends, the second joins."""
    path = Path(control(PAGE, GROUPED))
    for key in ("cpu", "disk"):
        path.push("trigger", key)
    path.command(RESOLVE, path.incident)
    path.now += 1000
    for key in ("cpu", "disk"):
        path.push("trigger", key)
    path.tick(60)
    assert _states(path) == [Status.RESOLVED, Status.OPEN]
    new = list(path.incidents.values())[1]
    assert (new.member_count, new.alert_count) == (2, 2)
    for key in ("cpu", "disk"):
        path.push("resolve", key)
    assert _states(path) == [Status.RESOLVED, Status.RESOLVED]


def test_members_that_fire_on_far_apart_are_two_incidents() -> None:
    """The second comes after the window of the first one's new incident; only counts tell of them."""
    key, service = GROUPED
    path = Path(control(PAGE, (key, {**service, "dedup_window": 600})))
    for name in ("cpu", "disk"):
        path.push("trigger", name)
    path.command(RESOLVE, path.incident)
    for name, seconds in (("cpu", 1), ("disk", 400)):
        path.now += seconds * 1000
        path.push("trigger", name, waits=True)
    assert _states(path) == [Status.RESOLVED, Status.OPEN, Status.OPEN]


def _command(**changes: object) -> list[object]:
    fields: dict[str, object] = {
        "command_id": bytes(16), "tenant": "default", "incident_id": bytes(16), "correlation_key": bytes(16),
        "action": "acknowledge", "actor": "cli:ada", "at": START, "note": "",
    }  # fmt: skip
    return list({**fields, **changes}.values())


@pytest.mark.parametrize(
    "value",
    [
        b"", b"garbage", encode(_command(command_id=b"1")), encode(_command(incident_id=bytes(17))),
        encode(_command(action="delete")), encode(_command(actor="")), encode(_command(actor="a" * (MAX_ACTOR + 1))),
        encode(_command(note="a" * (MAX_NOTE + 1))),
    ],
)  # fmt: skip
def test_a_malformed_command_is_a_dead_letter(value: bytes) -> None:
    """It stops nothing, and the reader of dead letters survives it."""
    assert decode_command(encode(_command())).action is ACK
    record = Rec(topics.ALERTS_UNIQUE.name, 0, 7, START, bytes(16), value, [(COMMAND_HEADER, b"")])
    state = TableState(correlate_table.due)
    with pytest.raises(DecodeError) as caught:
        list(Correlate(control(), RETENTION_MS)(state, [record], START))
    assert not len(state)
    letters = poison("correlate", lambda value: decode_unique(value).alert)
    output = letters(record, caught.value, START)
    letter = DeadLetter.read(output.key, output.value, list(output.headers))
    assert (letter.stage, letter.topic, letter.offset, letter.body) == ("correlate", record.topic, 7, value)


def test_a_command_is_no_alert_to_the_reader_of_dead_letters() -> None:
    """A well-formed command that could not be used is a dead letter of its own place."""
    command = decode_command(encode(_command()))
    record = Rec(topics.ALERTS_UNIQUE.name, 3, 9, START, bytes(16), encode(command), [(COMMAND_HEADER, b"")])
    output = poison("correlate", lambda value: decode_unique(value).alert)(record, KeyError("x"), START)
    letter = DeadLetter.read(output.key, output.value, list(output.headers))
    assert (letter.topic, letter.partition, letter.offset) == (record.topic, 3, 9)


def test_entries_of_before_commands_are_read() -> None:
    """An open incident that an earlier version kept, without the ids of commands, takes a command."""
    path = Path()
    path.push("trigger", "cpu")
    key = path.incident.correlation_key
    value = path.correlation_state.get(key)
    assert value is not None
    before = msgspec.msgpack.decode(value[1:])[:4]
    path.correlation_state.put(key, value[:1] + encode(before))
    assert path.command(ACK, path.incident).end is DONE


def test_an_answer_is_a_verdict_to_an_earlier_version() -> None:
    """A gateway of before reads over the answers to commands, and this one reads verdicts of before."""
    path = Path()
    path.push("trigger", "cpu", waits=True)
    path.command(ACK, path.incident)
    old = msgspec.defstruct("Old", [("reply_to", ReplyTo), ("deduplicated", bool), ("id", bytes)], array_like=True)
    verdict, answer = (record.value or b"" for record in path.logs[topics.REPLIES.name])
    assert not msgspec.msgpack.decode(answer, type=old).deduplicated
    assert decode_verdict(encode(msgspec.msgpack.decode(verdict)[:3])).command is None


def test_commands_move_no_mark() -> None:
    """The numbers by which copies of alerts are recognized are those of alerts alone."""
    path = Path()
    path.push("trigger", "cpu")
    marks = dict(path.correlation_state.marks)
    path.command(ACK, path.incident)
    assert path.correlation_state.marks == marks


STEPS = st.one_of(
    st.tuples(st.sampled_from(["trigger", "resolve", "acknowledge"]), st.sampled_from("abc"), st.integers(0, 90)),
    st.tuples(st.sampled_from(list(CommandAction)), st.integers(0, 5), st.integers(0, 90)),
)


@settings(max_examples=300)
@given(steps=st.lists(STEPS, max_size=25), grouped=st.booleans())
def test_any_order_of_commands_and_alerts(
    steps: list[tuple[str, str, int] | tuple[CommandAction, int, int]], grouped: bool
) -> None:
    """Versions only grow, each line of a timeline begins with the state that the line before it left, nothing follows
    a resolve, an answer has the version it made, and an alert that fires in the end has an open incident.
    """
    path = Path(control(PAGE, GROUPED) if grouped else control(PAGE))
    for what, which, seconds in steps:
        path.tick(seconds + 0.001)
        if isinstance(which, str):
            path.push(what, which)
        elif found := list(path.incidents.values())[which : which + 1]:
            count = len(path.events)
            result = path.command(CommandAction(what), found[0], note="x")
            assert (result.end is DONE) == (len(path.events) == count + 1)
            if result.end is DONE:
                assert path.events[-1].version == result.version == path.incidents[found[0].incident_id].version
    versions: dict[bytes, int] = defaultdict(int)
    for record in path.logs[topics.INCIDENTS.name]:
        incident = decode_incident(record.value or b"")
        assert incident.version > versions[incident.incident_id]
        versions[incident.incident_id] = incident.version
    states: dict[bytes, str] = defaultdict(str)
    lines: dict[bytes, int] = defaultdict(int)
    for line in path.events:
        assert line.from_status == states[line.incident_id] != "resolved"
        assert line.version > lines[line.incident_id]
        states[line.incident_id], lines[line.incident_id] = line.to_status, line.version
    assert list(states.values()) == [WORDS[status] for status in _states(path)]
    path.tick(0.001)
    for key in "abc":
        path.push("trigger", key)
    path.tick(3600)
    live = [incident for incident in path.incidents.values() if incident.status is not Status.RESOLVED]
    assert live if grouped else {incident.dedup_key for incident in live} == set("abc")
