"""What a silence or maintenance keeps from people: it is looked at when that is over, and its author hears of it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.wire.notification import MAX_RELATED
from streams.stages import dispatch_table, muted
from tests.stages.path import START, Path, control
from tests.stages.table import TableState
from tests.stages.test_dispatch import PAGE, at, kept, silence, told

ADA = ("user/default/ada", {"id": "ada", "destinations": [{"destination": "ada-phone"}], "accounts": ["cli:ada"]})
MAINTENANCE = {"id": "move", "author": "cli:ada", "reason": "a test", "services": ["web"]}


def to(path: Path, destination: str) -> list[tuple[str, str, int, str]]:
    """What one destination heard: the change, the key, how many others, and the note."""
    return [
        (str(each.transition), each.incident.dedup_key, len(each.related) + each.more, each.note)
        for each in path.notifications
        if each.destination == destination
    ]


class TestNotice:
    """The author hears what a silence hid that is still open."""

    def test_one_message_for_all(self) -> None:
        """At its end, with the most severe one, the others named, and a sentence that says why."""
        path = Path(control(PAGE, ADA, silence(0, 300)))
        for key in ("cpu", "disk", "net", "over"):
            path.push("trigger", key, "critical" if key == "disk" else "error")
        path.push("resolve", "over")
        path.tick(302)
        note = "silence/quiet is over; open incidents that it hid: 3"
        assert to(path, "ada-phone") == [("triggered", "disk", 2, note)]
        assert len(to(path, "ops")) == 3
        assert {other.change for each in path.notifications for other in each.related} == {"open"}

    def test_the_author_hears_the_end_of_what_was_told(self) -> None:
        """Who was told that an incident is there is told that it is over."""
        path = Path(control(PAGE, ADA, silence(0, 300)))
        path.push("trigger", "cpu")
        path.tick(310)
        path.push("resolve", "cpu")
        assert [change for change, *_ in to(path, "ada-phone")] == ["triggered", "resolved"]

    def test_maintenance_says_what_is_still_broken(self) -> None:
        """The author may be an account of a user."""
        window = {"starts_at": at(0), "ends_at": at(300), **MAINTENANCE}
        path = Path(control(PAGE, ADA, ("maintenance/default/move", window)))
        path.push("trigger", "cpu")
        path.tick(310)
        assert [note for *_, note in to(path, "ada-phone")] == [
            "maintenance/move is over; open incidents that it hid: 1"
        ]

    def test_nothing_open_is_no_notice(self) -> None:
        """Nor is there one for an author whom nobody knows."""
        path = Path(control(PAGE, ADA, silence(0, 300)))
        path.push("trigger", "cpu")
        path.push("resolve", "cpu")
        path.tick(310)
        assert told(path) == []
        path = Path(control(PAGE, silence(0, 300)))
        path.push("trigger", "cpu")
        path.tick(310)
        assert told(path) == [("triggered", "ops")]

    def test_a_deleted_silence_is_over(self) -> None:
        """Its author hears of it as well, once it is noticed."""
        path = Path(control(PAGE, ADA, silence(0, 3000)))
        path.push("trigger", "cpu")
        path.control.apply("silence/default/quiet", None)
        path.tick(13)
        assert [change for change, *_ in to(path, "ada-phone")] == ["triggered"]
        assert told(path)[0] == ("triggered", "ops"), "those who are told of the incident come first"

    def test_a_route_of_the_author_is_told_once(self) -> None:
        """An author who is told of the incidents anyway needs no notice."""
        path = Path(control(("rule/default/all", {"id": "all", "route": ["ada-phone"]}), ADA, silence(0, 300)))
        path.push("trigger", "cpu")
        path.tick(310)
        assert [change for change, *_ in to(path, "ada-phone")] == ["triggered"]


class TestLists:
    """The lists of what is muted."""

    @pytest.mark.parametrize("restarts", [False, True])
    def test_more_than_one_entry(self, restarts: bool) -> None:
        """All are told when it is over, nothing is left of the list, and before it nothing is done."""
        path = Path(control(PAGE, ADA, silence(0, 300)))
        keys = [f"k{number}" for number in range(150)]
        for key in keys:
            path.push("trigger", key)
        path.tick(290)
        before = len(path.deliveries)
        path.tick(9)
        if restarts:
            path.restart()
        assert (len(path.deliveries), told(path)) == (before, [])
        path.tick(5)
        assert sorted(key for _, key, *_ in to(path, "ops")) == sorted(keys)
        assert to(path, "ada-phone")[0][2] == 149
        assert [each.more for each in path.notifications if each.note] == [149 - MAX_RELATED]
        for key in keys:
            path.push("resolve", key)
        assert not list(path.dispatch_state.items())

    def test_a_silence_that_is_changed_lets_go_what_it_no_longer_matches(self) -> None:
        """The others stay muted, in the same list, and the notice at the end has only them."""
        path = Path(control(PAGE, ADA, silence(0, 300)))
        for key in ("cpu", "disk"):
            path.push("trigger", key)
        name, fields = silence(0, 300, 'service="web"', 'dedup_key="cpu"')
        path.control.apply(name, json.dumps(fields).encode())
        path.tick(11)
        assert [key for _, key, *_ in to(path, "ops")] == ["disk"]
        path.tick(300)
        assert [key for _, key, *_ in to(path, "ops")] == ["disk", "cpu"]
        assert [key for _, key, *_ in to(path, "ada-phone")] == ["cpu"]

    def test_a_longer_one_takes_over(self) -> None:
        """What the end of the first leaves muted by a second one is told at the end of that."""
        name, fields = silence(0, 300)
        second = ("silence/default/later", {**silence(100, 600)[1], "id": "later"})
        path = Path(control(PAGE, ADA, (name, fields), second))
        path.push("trigger", "cpu")
        path.tick(400)
        assert told(path) == []
        assert [reason for *_, reason in kept(path)] == ["silence/quiet", "silence/later"]
        path.tick(210)
        assert [note for *_, note in to(path, "ada-phone")] == ["silence/later is over; open incidents that it hid: 1"]

    def test_what_is_told_for_another_reason_is_not_told_twice(self) -> None:
        """It rises and so is not matched any more: told at once, and nothing of it at the end."""
        path = Path(control(PAGE, ADA, silence(0, 300, 'service="web"', 'severity="error"')))
        path.push("trigger", "cpu")
        path.push("trigger", "cpu", "critical")
        assert [change for change, *_ in to(path, "ops")] == ["triggered"]
        path.tick(310)
        assert len(path.notifications) == 1

    def test_every_night(self) -> None:
        """Each occurrence ends for itself."""
        begins = datetime.fromtimestamp(START / 1000 - 60, UTC).strftime("%H:%M")
        nightly = {"rrule": "FREQ=DAILY", "zone": "UTC", "start": begins, "duration": 600}
        name, fields = silence(-3600, 3 * 86_400)
        path = Path(control(PAGE, ADA, (name, {**fields, "recurrence": nightly})))
        path.push("trigger", "cpu")
        path.tick(700)
        assert [change for change, *_ in to(path, "ops")] == ["triggered"]
        path.now += 86_400_000 - 700_000
        path.push("trigger", "disk")
        path.tick(700)
        assert [key for _, key, *_ in to(path, "ops")] == ["cpu", "disk"]
        assert [key for _, key, *_ in to(path, "ada-phone")] == ["cpu", "disk"]


def test_what_is_muted_is_not_looked_at() -> None:
    """A thousand muted incidents are one look in ten seconds."""
    path = Path(control(PAGE, silence(0, 3000)))
    for number in range(1000):
        path.push("trigger", f"k{number}")
    counting = _Counting(dispatch_table.due, path.dispatch_state)
    path.dispatch_state = counting
    path.tick(100)
    assert 0 < counting.puts <= 11
    assert muted.RECHECK_MS == 10_000


class _Counting(TableState):
    """A table that counts what is written."""

    def __init__(self, due: Any, other: TableState) -> None:
        super().__init__(due)
        for key, value in other.items():
            super().put(key, value, due(value))
        self.puts = 0

    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Count it."""
        self.puts += 1
        super().put(key, value, due)


class TestGroups:
    """What a group has told before the mute began."""

    TREE = ("route/default/main", {"id": "main", "destinations": ["ops"], "group_wait": 10, "repeat_interval": 600})

    def test_a_repeat_waits_for_the_end(self) -> None:
        """Maintenance stops repeats; when it is over, what is still broken is told again."""
        window = {"starts_at": at(300), "ends_at": at(900), **MAINTENANCE}
        path = Path(control(self.TREE, ("maintenance/default/move", window)))
        path.push("trigger", "cpu")
        path.tick(899)
        assert told(path) == [("triggered", "ops")]
        assert kept(path) == [("reminder", "ops", "maintenance/move")]
        path.tick(2)
        assert told(path) == [("triggered", "ops"), ("reminder", "ops")]

    def test_a_rise_is_told_at_the_end(self) -> None:
        """What was told and rises in a silence is told of that when the silence is over, once."""
        path = Path(control(self.TREE, silence(100, 500)))
        path.push("trigger", "cpu", "warning")
        path.tick(110)
        path.push("trigger", "cpu", "critical")
        path.tick(380)
        assert told(path) == [("triggered", "ops")]
        path.tick(20)
        assert told(path) == [("triggered", "ops"), ("escalated", "ops")]
