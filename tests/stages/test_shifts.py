"""At a hand-over the new person is told what is open."""

import json
from datetime import UTC, datetime
from typing import Any

from schemas.wire.command import CommandAction
from streams.stages.shifts import MAX_OPEN
from tests.stages.path import START, Path, control
from tests.stages.test_dispatch import at, silence
from tests.stages.test_muted import to

#: The first hand-over is this many seconds after the start, at a full minute.
HANDOVER_S = 1760
_CLOCK = datetime.fromtimestamp(START / 1000 + HANDOVER_S, UTC)


def crew(*users: str) -> list[tuple[str, dict[str, Any]]]:
    """A service whose escalation pages who is on call; the users take turns of an hour, which begin at HANDOVER_S."""
    layer = {"users": users, "start": "2025-06-01", "rotation": "hourly", "handover": _CLOCK.strftime("%H:%M")}
    return [
        *(
            (f"user/default/{user}", {"id": user, "destinations": [{"destination": f"{user}-phone"}]})
            for user in ("ada", "bob", "eve")
        ),
        ("schedule/default/first", {"id": "first", "zone": "UTC", "layers": [layer]}),
        ("escalation/default/crew", {"id": "crew", "steps": [{"schedules": ["first"]}], "fallback": ["boss"]}),
        ("service/default/web", {"id": "web", "escalation": "crew"}),
    ]


def on_call(path: Path) -> str:
    """Who was paged first."""
    return path.notifications[0].destination.removesuffix("-phone")


def test_who_goes_on_call_hears_what_is_open() -> None:
    """At the hand-over, in one message, with the most severe one first; also of what somebody acknowledged."""
    path = Path(control(*crew("ada", "bob")))
    for key in ("cpu", "disk", "net"):
        path.push("trigger", key, "critical" if key == "disk" else "error")
    path.push("resolve", "net")
    path.command(CommandAction.ACKNOWLEDGE, next(each for each in path.incidents.values() if each.dedup_key == "cpu"))
    first = on_call(path)
    second = "bob" if first == "ada" else "ada"
    path.tick(HANDOVER_S - 1)
    assert to(path, f"{second}-phone") == []
    path.tick(1)
    note = "on call for first from now on; open incidents: 2"
    assert to(path, f"{second}-phone") == [("triggered", "disk", 1, note)]
    path.push("resolve", "disk")
    assert [change for change, *_ in to(path, f"{second}-phone")] == ["triggered", "resolved"]


def test_nothing_open_nothing_told() -> None:
    """And nothing is left in the table."""
    path = Path(control(*crew("ada", "bob")))
    path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    before = len(path.notifications)
    path.tick(2 * HANDOVER_S)
    assert len(path.notifications) == before
    assert not list(path.dispatch_state.items())


def test_the_same_person_again_is_no_hand_over() -> None:
    """A schedule of one has none."""
    path = Path(control(*crew("ada")))
    path.push("trigger", "cpu")
    path.tick(3 * HANDOVER_S)
    assert [change for change, *_ in to(path, "ada-phone")] == ["triggered"]


def test_an_override_is_a_hand_over() -> None:
    """Also one that is added while the incident is open: whoever stands in hears of it within a minute."""
    path = Path(control(*crew("ada")))
    path.push("trigger", "cpu")
    path.tick(10)
    override = {"id": "o", "schedule": "first", "user": "eve", "starts_at": at(0), "ends_at": at(600)}
    path.control.apply("override/default/o", json.dumps(override).encode())
    path.tick(60)
    assert [change for change, *_ in to(path, "eve-phone")] == ["triggered"]
    path.tick(600)
    assert [change for change, *_ in to(path, "ada-phone")] == ["triggered", "reminder"], "and ada has it again"


def test_what_is_muted_is_not_open_to_them() -> None:
    """A silence keeps it from the new person as well."""
    path = Path(control(*crew("ada", "bob"), silence(0, 7200)))
    path.push("trigger", "cpu")
    path.tick(HANDOVER_S + 60)
    assert path.notifications == []


def test_very_many_are_counted() -> None:
    """The message names some and has the number of all; a restart in between changes nothing."""
    path = Path(control(*crew("ada", "bob")))
    for number in range(MAX_OPEN + 30):
        path.push("trigger", f"k{number}")
    for number in range(5):
        path.push("resolve", f"k{number}")
    for number in range(MAX_OPEN, MAX_OPEN + 5):
        path.push("resolve", f"k{number}")
    path.tick(HANDOVER_S - 5)
    path.restart()
    path.tick(5)
    (handed,) = [each for each in path.notifications if each.note]
    assert 1 + len(handed.related) + handed.more == MAX_OPEN + 20


def test_a_changed_policy_moves_the_incident() -> None:
    """The next change of the incident takes it out of a schedule that its policy no longer names."""
    path = Path(control(*crew("ada", "bob")))
    path.push("trigger", "cpu")
    direct = {"id": "crew", "steps": [{"users": ["eve"]}]}
    path.control.apply("escalation/default/crew", json.dumps(direct).encode())
    path.push("trigger", "cpu", "critical")
    path.tick(HANDOVER_S)
    assert not [each for each in path.notifications if each.note]
