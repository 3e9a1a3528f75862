"""What the stages answer to requests that wait, and that nothing else changes because somebody waits."""

import pytest

from schemas import topics
from schemas.wire.alert import Severity
from schemas.wire.verdict import Verdict
from tests.stages.path import Path, control

PAGE = ("rule/default/page", {"id": "page", "route": ["ops"]})
GROUPED = (
    "service/default/web",
    {"id": "web", "correlation": {"group_by": ["source"], "window": 300, "max_window": 600}},
)
QUIET = ("rule/default/quiet", {"id": "quiet", "suppress": True})


def _ended(path: Path) -> list[tuple[bool, bytes]]:
    return [(verdict.deduplicated, verdict.incident_id) for verdict in path.verdicts]


def _group(*alerts: tuple[str, str]) -> dict[str, object]:
    return {
        "version": "4",
        "groupKey": "g",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": name},
                "annotations": {},
                "startsAt": "2020-01-01T00:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": name,
            }
            for status, name in alerts
        ],
    }


def test_nobody_hears_who_did_not_ask() -> None:
    """Without a reply address nothing is on `replies`, and no record has a header."""
    path = Path()
    for action in ("trigger", "trigger", "resolve", "resolve"):
        path.push(action, "cpu")
    assert not path.verdicts
    assert all(not record.headers for log in path.logs.values() for record in log if record.topic != "deadletters")


def test_the_first_is_new_and_the_second_a_duplicate_of_its_incident() -> None:
    """Both name the incident, the key and the address; the duplicate counts as a repeat as ever (B13, C65)."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu", waits=True)
    path.push("trigger", "cpu", waits=True, summary="said differently")
    incident = path.incident.incident_id
    assert _ended(path) == [(False, incident), (True, incident)]
    first, second = (verdict.reply_to for verdict in path.verdicts)
    assert (first.address, first.index, first.alerts, first.dedup_key) == (b"gateway", 0, 1, "cpu")
    assert first.request != second.request
    assert [record.key for record in path.logs[topics.REPLIES.name]] == [b"gateway"] * 2
    assert path.outcomes == ["opened", "deduplicated"]


def test_a_waiting_duplicate_folds_like_any_other() -> None:
    """It makes no version, event or notification of its own, and the counts are the same in the end."""
    waiting, plain = Path(control(PAGE)), Path(control(PAGE))
    for path in (waiting, plain):
        for _ in range(4):
            path.push("trigger", "cpu", waits=path is waiting)
            path.now += 1000
    assert len(waiting.logs[topics.INCIDENTS.name]) == len(plain.logs[topics.INCIDENTS.name]) == 1
    waiting.tick(120)
    plain.tick(120)
    assert len(waiting.logs[topics.INCIDENTS.name]) == len(plain.logs[topics.INCIDENTS.name]) == 2
    assert (waiting.incident.alert_count, waiting.incident.repeat_count) == (4, 3)
    assert (plain.incident.alert_count, plain.incident.repeat_count) == (4, 3)
    assert waiting.outcomes == plain.outcomes
    assert len(waiting.notifications) == len(plain.notifications) == 1


def test_a_repeat_that_raises_the_severity_is_a_duplicate_and_updates_the_incident() -> None:
    """Count, last seen and severity of the open incident change, and its id is told (C66)."""
    path = Path()
    path.push("trigger", "cpu", "warning", waits=True)
    path.now += 5000
    path.push("trigger", "cpu", "critical", waits=True)
    assert _ended(path)[1] == (True, path.incident.incident_id)
    assert (path.incident.severity, path.incident.repeat_count) == (Severity.CRITICAL, 1)
    assert path.incident.last_alert_at == path.now
    path.now += 120_000
    path.push("trigger", "cpu", waits=True)
    assert _ended(path)[2] == (True, path.incident.incident_id), "after its window too"


def test_acknowledge_and_resolve_of_a_known_key_are_never_duplicates() -> None:
    """They name their incident, however often they come; what is closed has none any more (decision 2)."""
    path = Path()
    path.push("trigger", "cpu", waits=True)
    incident = path.incident.incident_id
    for action in ("acknowledge", "acknowledge", "resolve", "resolve", "acknowledge"):
        path.push(action, "cpu", waits=True)
    path.push("resolve", "unknown", waits=True)
    path.push("acknowledge", "unheard of", waits=True)
    assert _ended(path)[1:] == [(False, incident)] * 3 + [(False, b"")] * 4


def test_after_a_resolve_the_same_key_is_new_again() -> None:
    """It opens another incident and says so (B15, C68)."""
    path = Path()
    for action in ("trigger", "trigger", "resolve", "trigger"):
        path.push(action, "cpu", waits=True)
        path.now += 1000
    (_, old), (_, again), _, (deduplicated, new) = _ended(path)
    assert old == again != new
    assert not deduplicated
    assert set(path.incidents) == {old, new}


def test_what_is_held_is_no_duplicate() -> None:
    """A trigger that may be a straggler of the resolve before it waits, and its sender is told so by dedup itself."""
    path = Path()
    path.request("prometheus", _group(("firing", "cpu")), waits=True)
    path.request("prometheus", _group(("resolved", "cpu")), waits=True)
    path.request("prometheus", _group(("firing", "cpu")), waits=True)
    assert path.outcomes == ["opened", "resolved"]
    assert _ended(path) == [(False, path.incident.incident_id)] * 2 + [(False, b"")]


def test_services_do_not_share_a_key() -> None:
    """The same key on another service is new (C70)."""
    path = Path()
    path.push("trigger", "cpu", service="web", waits=True)
    path.push("trigger", "cpu", service="db", waits=True)
    assert [deduplicated for deduplicated, _ in _ended(path)] == [False, False]
    assert len(path.incidents) == 2


def test_members_of_a_group_name_the_groups_incident() -> None:
    """A new member is not a duplicate, its repeat is, and both name the incident they belong to."""
    path = Path(control(GROUPED))
    for key in ("cpu", "disk", "disk"):
        path.push("trigger", key, waits=True)
    incident = path.incident.incident_id
    assert _ended(path) == [(False, incident), (False, incident), (True, incident)]


@pytest.mark.parametrize("pause", [1, 120])
def test_a_repeat_of_what_is_suppressed_is_a_duplicate_without_incident(pause: int) -> None:
    """In its window and after it."""
    path = Path(control(QUIET))
    path.push("trigger", "cpu", waits=True)
    path.now += pause * 1000
    path.push("trigger", "cpu", waits=True)
    assert _ended(path) == [(False, b""), (True, b"")]


def test_each_alert_of_a_batch_is_answered_with_its_place() -> None:
    """Every verdict says which of how many alerts it is about, and that one's own key."""
    path = Path()
    path.request("prometheus", _group(("firing", "a"), ("firing", "b")), waits=True)
    path.request("prometheus", _group(("firing", "b"), ("firing", "c")), waits=True)
    told = {(v.reply_to.index, v.reply_to.alerts, v.deduplicated) for v in path.verdicts[2:]}
    assert told == {(0, 2, True), (1, 2, False)}
    keys = {v.reply_to.index: v.reply_to.dedup_key for v in path.verdicts[:2]}
    assert keys[0] != keys[1]


def test_a_replay_tells_no_other_verdict() -> None:
    """What a crashed worker sends again is dropped, or told again as it was."""
    path = Path(control(PAGE))
    for action in ("trigger", "trigger", "resolve", "trigger"):
        path.push(action, "cpu", waits=True)
        path.now += 1000
    before: list[Verdict] = path.verdicts
    incidents = path.incidents
    for record in list(path.logs[topics.ALERTS_NORMALIZED.name]):
        path.append(topics.ALERTS_NORMALIZED.name, record.value, record.key, record.headers)
    for record in list(path.logs[topics.ALERTS_UNIQUE.name]):
        path.append(topics.ALERTS_UNIQUE.name, record.value, record.key, record.headers)
    path.run()
    assert path.incidents == incidents
    for verdict in path.verdicts[len(before) :]:
        assert verdict.deduplicated
        assert any(verdict.reply_to == known.reply_to for known in before)
