"""A report: who would have been told, and what is missed."""

from functools import cache
from typing import Any

import pytest

from schemas.wire.command import CommandAction
from schemas.wire.rows import AlertOutcome
from streams.rehearsal.recorded import Before, Deed, First, Recorded
from streams.rehearsal.replay import Replay
from streams.rehearsal.report import Acted, acts_by_key, comparison, equality, sealed, summary
from streams.rehearsal.run import NO_INCIDENT
from tests.rehearsal.test_line import alert as fresh_alert
from tests.stages.path import START, control

#: The same key has the same event id in every run.
alert = cache(fresh_alert)

PAGER = ("destination/default/pager", {"id": "pager", "type": "webhook", "url": "https://example.com/a"})
PAGED = ("service/default/web", {"id": "web", "destinations": ["pager"]})
ADA = ("user/default/ada", {"id": "ada", "destinations": [{"destination": "pager"}]})


def silence(minutes: int) -> tuple[str, dict[str, Any]]:
    """One from the beginning, which is at 15:06:40 UTC."""
    ends_at = f"2025-06-15T{(15 * 60 + 6 + minutes) // 60:02}:{(6 + minutes) % 60:02}:40Z"
    match = ['dedup_key="a"']
    times = {"starts_at": "2025-06-15T00:00:00Z", "ends_at": ends_at}
    return "silence/default/hush", {"id": "hush", "match": match, "author": "ada", "reason": "r", **times}


def replay(*records: tuple[str, dict[str, Any]], deeds: tuple[Deed, ...] = (), since: int = START) -> Replay:
    """Two keys that open a second apart; a quarter of an hour passes."""
    run = Replay(control(PAGER, PAGED, *records), since, deeds)
    for number, key in enumerate("ab"):
        each = alert(key, START + number * 1000)
        run.take(Recorded(each, AlertOutcome.SUPPRESSED, NO_INCIDENT, ""))
    run.finish(START + 900_000)
    return run


def deed(run: Replay, key: str, kind: str = "acknowledged", after: int = 60_000) -> Deed:
    """What ada does with the incident of a key."""
    lives = run.run.lives.values()
    (incident_id,) = (each.incident.incident_id for each in lives if each.incident.dedup_key == key)
    return Deed(incident_id, START + after, kind, "cli:ada", bytes(16), "")


@pytest.mark.parametrize(
    ("minutes", "missed", "late", "worst"),
    [
        (60, 1, 0, "now nobody is told: the silence hush mutes the incident"),
        (10, 0, 1, "now the first page leaves 600.0 s later than then"),
        (4, 0, 0, None),
    ],
)
def test_what_somebody_acted_on_is_missed_or_late(minutes: int, missed: int, late: int, worst: str | None) -> None:
    """A silence that outlasts the window, one that ends late, one that ends soon enough."""
    old = replay()
    deeds = [deed(old, "a")]
    new = replay(silence(minutes))
    acted = acts_by_key(old.run, deeds, START)
    assert list(acted.values()) == [Acted(START + 60_000, "cli:ada")]
    report = comparison(old.run, new.run, acted, deeds, 300_000)
    assert (report["missed"], report["late"]) == (missed, late)
    assert report["hidden_by"] == ({"silence/hush": 1} if missed else {})
    assert [each["trail"][-1] for each in report["worst"]] == ([worst] if worst else [])


def test_what_is_only_new() -> None:
    """Told under the new configuration alone: no incident of today's is worse off."""
    report = comparison(replay(silence(60)).run, replay().run, {}, (), 300_000)
    assert report["keys"] == {"both": 1, "only_old": 0, "only_new": 1, "neither": 0}
    assert report["worst"] == []


def test_figures_of_a_run() -> None:
    """Pages by person and at night by the clocks of a schedule, time to the first page, and noise: nobody acted."""
    layers = [{"users": ["ada"], "start": "2025-01-01"}]
    tokyo = ("schedule/default/primary", {"id": "primary", "zone": "Asia/Tokyo", "layers": layers})
    run = replay(ADA, tokyo, silence(10))
    configured = control(PAGER, PAGED, ADA, tokyo)
    acted = acts_by_key(run.run, [deed(run, "a")], START)
    report = summary(run, configured, acted)
    assert report["by_person"] == {"ada": {"pages": 2, "at_night": 2}}
    assert summary(run, control(PAGER, ADA), acted)["by_person"] == {"ada": {"pages": 2, "at_night": 0}}
    assert report["seconds_to_first_page"] == {"p50": 300.0, "p95": 570.0}
    assert (report["pages"], report["by_destination"], report["noise_ratio"]) == (2, {"pager": 2}, 0.5)
    assert report["kept_from_people"] == {"silence/hush": 1}
    nothing = summary(replay(since=START + 3_600_000), configured, {})
    assert (nothing["noise_ratio"], nothing["incidents"]) == (None, 0)
    assert nothing["seconds_to_first_page"] == {"p50": None, "p95": None}


def test_the_warm_up_is_not_counted() -> None:
    """What opened in it is known, and only what comes after it is in the figures."""
    run = replay(since=START + 500)
    report = summary(run, control(PAGER, PAGED), {})
    assert (report["alerts"], report["incidents"], report["pages"]) == ({"opened": 1}, 1, 1)


def test_messages_are_compared_with_the_record() -> None:
    """One that the record lacks, one that only it has; a fallback's and one at the very end are nobody's mistake."""
    run = replay()
    a, b = (deed(run, key).incident_id for key in "ab")
    firsts = [
        First(a, "pager", START, False, ("quiet_hours",)),
        First(b, "pager", START + 1_000, True, ()),
        First(b, "chat", START + 1_000, True, ()),
        First(b, "fallback", START + 1_000, True, ()),
        First(b, "mail", START + 899_000, True, ()),
        First(bytes(16), "pager", START, True, ()),
    ]
    record = equality(run, firsts, {"fallback"}, START + 900_000)
    assert (record["equal"], record["different_messages"]) == (False, 2)
    assert [line.partition(": ")[2] for line in record["differences"][-2:]] == [
        "pager was not told (quiet_hours), by the replay it is",
        "chat was told, by the replay it is not",
    ]


def test_people_do_what_they_did() -> None:
    """At its time, to the incident that they saw; an unknown act and an unknown incident are counted."""
    ids = replay()
    known, merged = deed(ids, "a"), deed(ids, "b", "merged")
    elsewhere = known._replace(incident_id=bytes(16), at=START + 70_000)
    run = replay(deeds=(known, merged, elsewhere))
    assert (run.applied, run.unapplied) == (1, 2)
    told = [page.transition for page in run.run.pages]
    assert (len(told), run.run.messages) == (2, 3)


def test_what_goes_on_from_before_is_left_out() -> None:
    """A repeat, an end or a member of what is not in the reading; from its next opening on the key counts."""
    incident, other = b"i" * 16, b"o" * 16
    steps = [
        ("a", AlertOutcome.DEDUPLICATED, NO_INCIDENT, True),
        ("a", AlertOutcome.RESOLVED, incident, True),
        ("a", AlertOutcome.OPENED, other, False),
        ("a", AlertOutcome.DEDUPLICATED, NO_INCIDENT, False),
        ("b", AlertOutcome.CORRELATED, incident, True),
        ("c", AlertOutcome.CORRELATED, other, False),
        ("d", AlertOutcome.SUPPRESSED, NO_INCIDENT, False),
        ("d", AlertOutcome.DEDUPLICATED, NO_INCIDENT, False),
        ("e", AlertOutcome.UNMATCHED, NO_INCIDENT, False),
        ("f", AlertOutcome.STALE, NO_INCIDENT, True),
        ("b", AlertOutcome.CORRELATED, other, False),
    ]
    before = Before()
    for key, outcome, incident_id, held in steps:
        assert before.holds(Recorded(alert(key, START), outcome, incident_id, "")) is held, (key, outcome)


def test_the_hash_is_of_everything() -> None:
    """Equal reports have equal hashes, and another figure has another."""
    one, same = sealed(summary(replay(), control(), {})), sealed(summary(replay(), control(), {}))
    assert one == same
    assert sealed({**one, "pages": 9})["hash"] != one["hash"]


def test_every_act_of_people_is_known() -> None:
    """Their lines in the timeline lead to the commands; merges and splits are about other incidents, and left out."""
    acts = {"acknowledged", "unacknowledged", "resolved", "note"}
    known = set(CommandAction) - {CommandAction.MERGE, CommandAction.SPLIT}
    assert {deed(replay(), "a", kind).action for kind in acts} == known
    assert deed(replay(), "a", "merged").action is None
