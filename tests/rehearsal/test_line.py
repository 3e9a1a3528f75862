"""A line: the stages in memory, on a clock of their own."""

from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.wire.alert import Alert
from schemas.wire.codec import decode_alert, decode_command
from schemas.wire.command import CommandAction
from schemas.wire.incident import Incident, IncidentEvent
from schemas.wire.notification import Delivery, Notification
from schemas.wire.rows import AlertOutcome, AlertRow
from streams.control.state import Control
from streams.rehearsal.line import Line, Listener, rows_of
from streams.rehearsal.memory import Memory
from tests.stages.path import START, Path, control

RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("destination/default/pager", {"id": "pager", "type": "webhook", "url": "https://example.com/a"}),
    ("destination/default/chat", {"id": "chat", "type": "webhook", "url": "https://example.com/b"}),
    ("service/default/web", {"id": "web", "dedup_window": 60, "escalation": "climb"}),
    (
        "service/default/db",
        {"id": "db", "destinations": ["chat"], "correlation": {"group_by": ["service"], "window": 120}},
    ),
    (
        "escalation/default/climb",
        {
            "id": "climb",
            "steps": [{"destinations": ["pager"], "delay": 60}],
            "repeat": 1,
        },
    ),
    ("rule/default/noise", {"id": "noise", "match": ['dedup_key="c"', 'severity="info"'], "suppress": True}),
]
STORM = ("tenant/default", {"id": "default", "storm": {"above": 2, "below": 1, "within": 60, "quiet": 30, "wait": 10}})


class Heard(Listener):
    """Everything, in order."""

    def __init__(self) -> None:
        self.rows: list[AlertRow] = []
        self.incidents: dict[bytes, Incident] = {}
        self.events: list[tuple[bytes, int, str]] = []
        self.notifications: list[tuple[int, Notification]] = []
        self.deliveries: list[Delivery] = []

    def ended(self, row: AlertRow, at: int) -> None:
        self.rows.append(row)

    def changed(self, incident: Incident, at: int) -> None:
        self.incidents[incident.incident_id] = incident

    def happened(self, event: IncidentEvent, at: int) -> None:
        self.events.append((event.incident_id, event.version, event.kind))

    def told(self, notification: Notification, at: int) -> None:
        self.notifications.append((at, notification))

    def skipped(self, delivery: Delivery, at: int) -> None:
        self.deliveries.append(delivery)

    @property
    def outcomes(self) -> list[str]:
        """The outcomes of alerts, in the order they ended."""
        return [AlertOutcome(row.outcome).name.lower() for row in self.rows]


def alerts(path: Path) -> list[Alert]:
    """What the path's stages took."""
    return [decode_alert(record.value or b"") for record in path.logs[topics.ALERTS_NORMALIZED.name]]


def alert(key: str, at: int, action: str = "trigger", **fields: Any) -> Alert:
    """One alert of the service web, as normalize makes it."""
    path = Path()
    path.now = at
    path.push(action, key, **fields)
    return alerts(path)[0]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["trigger", "trigger", "resolve", "acknowledge", "command", "wait"]),
        st.sampled_from("abc"),
        st.sampled_from(["web", "db"]),
        st.sampled_from(["info", "critical"]),
        st.integers(0, 150),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([(), (STORM,)]))
def test_a_line_decides_as_workers_do(
    steps: list[tuple[str, str, str, str, int]], more: tuple[tuple[str, dict[str, Any]], ...]
) -> None:
    """Alerts, commands and deadlines in any order: the same outcomes, incidents, timelines and messages."""
    path = Path(control(*RECORDS, *more))
    inputs: list[tuple[int, Any]] = []
    for action, key, service, severity, seconds in steps:
        if action == "command":
            incidents = sorted(path.incidents.values(), key=lambda incident: incident.incident_id)
            if incidents:
                path.command(list(CommandAction)[seconds % 4], incidents[seconds % len(incidents)])
                inputs.append((path.now, decode_command(path.logs[topics.ALERTS_UNIQUE.name][-1].value or b"")))
        elif action != "wait":
            path.push(action, key, severity, service=service)
            inputs.append((path.now, alerts(path)[-1]))
        path.tick(seconds)
    heard = Heard()
    line = Line(path.control, heard)
    for at, each in inputs:
        if isinstance(each, Alert):
            line.take(each, at)
        else:
            line.command(each, at)
    line.advance(path.now)
    # Alerts of one time are one batch for the line, and several for the path: only the order may differ.
    rows = [row for record in path.logs[topics.ALERTS_HISTORY.name] for row in rows_of(record.value or b"")]
    assert by_offset(heard.rows) == by_offset(rows)
    assert heard.incidents == path.incidents
    assert sorted(heard.events) == sorted((event.incident_id, event.version, event.kind) for event in path.events)
    assert by_id(each for _, each in heard.notifications) == by_id(path.notifications)
    assert sorted(map(str, heard.deliveries)) == sorted(map(str, path.deliveries))


def by_offset(rows: list[AlertRow]) -> list[AlertRow]:
    """Rows in the order of their alerts."""
    return sorted(rows, key=lambda row: row.kafka_offset)


def by_id(notifications: Iterable[Notification]) -> list[Notification]:
    """Notifications in an order that does not depend on batches."""
    return sorted(notifications, key=lambda each: each.notification_id)


def test_what_is_due_comes_before_records_of_that_time() -> None:
    """A step of an escalation is taken before an acknowledgement of the same millisecond, not before an earlier one."""
    for offset, pages in ((-1, 1), (0, 2), (1, 2)):
        heard = Heard()
        line = Line(control(*RECORDS), heard)
        line.take(alert("a", START), START)
        acknowledges = alert("a", START + 60_000 + offset, "acknowledge")
        line.take(acknowledges, acknowledges.received_at)
        line.advance(START + 90_000)
        told = [each.transition for _, each in heard.notifications if each.transition in ("triggered", "reminder")]
        assert len(told) == pages, offset


def test_time_passes_as_far_as_it_is_told() -> None:
    """Deadlines fire at their own times, not at the time to which the clock is set; it never goes back."""
    heard = Heard()
    line = Line(control(*RECORDS), heard)
    line.take(alert("a", START), START)
    line.advance(START + 3_600_000)
    assert [at - START for at, _ in heard.notifications] == [0, 60_000]
    line.take(alert("b", START), START)
    line.advance(START)
    assert line.now == START + 3_600_000
    assert heard.notifications[-1][0] == line.now


def test_an_acknowledgement_that_lapses_pages_again() -> None:
    """What dispatch commands comes back to correlation within the line."""
    heard = Heard()
    key, climb = RECORDS[-2]
    line = Line(control(*RECORDS, (key, {**climb, "acknowledge_timeout": 60})), heard)
    line.take(alert("a", START), START)
    line.take(alert("a", START + 1_000, "acknowledge"), START + 1_000)
    line.advance(START + 70_000)
    assert [kind for _, _, kind in heard.events] == ["triggered", "acknowledged", "unacknowledged"]
    assert ("unacknowledged", START + 61_000) in [(each.transition, at) for at, each in heard.notifications]


def test_alerts_of_one_place_may_come_in_another_order() -> None:
    """A history is ordered by arrival: a smaller offset after a greater one is no copy."""
    first, second = alert("a", START), alert("a", START + 5)
    assert first.origin_offset == second.origin_offset
    heard = Heard()
    line = Line(Control(), heard)
    for each in (second, first):
        line.take(each, START + 10)
    line.advance(START + 10)
    assert heard.outcomes == ["deduplicated", "opened"]


def test_memory_gives_deadlines_in_order_and_forgets_those_that_moved() -> None:
    """By time, then by key; a deadline that moved counts once, a deleted one not at all, and their waste is bounded."""
    memory = Memory()
    for key, due in ((b"b", 5), (b"a", 5), (b"c", 3), (b"d", 9), (b"e", 4)):
        memory.put(key, b"v", due)
    memory.put(b"d", b"w", 5)
    memory.put(b"c", b"w", 0)
    memory.delete(b"e")
    assert memory.first() == 5
    assert not memory.armed(4)
    assert memory.fired(7) == [(b"a", 5), (b"b", 5), (b"d", 5)]
    assert memory.first() is None
    assert (memory.get(b"d"), memory.get(b"e")) == (b"w", None)
    for due in range(1, 50_000):
        memory.put(b"a", b"v", due)
    assert len(memory._heap) < 2_000
    assert memory.fired(50_000) == [(b"a", 49_999)]
