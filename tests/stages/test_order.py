"""One clock decides order: what senders' clocks, repeats and stragglers do to incidents."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.wire.incident import Status
from tests.stages.path import START, Path, control

DAY_MS = 86_400_000
PAGE = ("rule/default/page", {"id": "page", "route": ["ops"]})


def event(path: Path, action: str, **fields: Any) -> None:
    """One event of a producer in the company, through all stages."""
    body = {"service": "web", "dedup_key": "cpu", "action": action, "summary": "cpu is broken", **fields}
    path.append(topics.ALERTS_EVENTS.name, orjson.dumps(body))
    path.run()


def statuses(path: Path) -> list[Status]:
    """Of all incidents, in the order they opened."""
    return [incident.status for incident in path.incidents.values()]


def test_a_sender_ahead_of_us_resolves_what_it_triggered() -> None:
    """A sender whose clock is 20 s ahead of ours triggers; its resolve a second later, without a time, ends it."""
    path = Path()
    event(path, "trigger", starts_at=path.now + 20_000)
    path.now += 1000
    event(path, "resolve")
    assert path.outcomes == ["opened", "resolved"]
    assert statuses(path) == [Status.RESOLVED]


def test_the_dedup_key_alone_decides_for_the_events_api() -> None:
    """A trigger after a resolve opens, though its timestamp is that of the condition, from before the resolve."""
    path = Path(control(PAGE))
    since = "2025-06-15T15:06:10Z"
    path.push("trigger", "queue", timestamp=since)
    path.now += 2000
    path.push("resolve", "queue")
    path.now += 2000
    path.push("trigger", "queue", timestamp=since)
    assert path.outcomes == ["opened", "resolved", "opened"]
    assert [n.transition for n in path.notifications] == ["triggered", "resolved", "triggered"]


def test_a_straggler_is_held_and_ended_by_a_second_resolve() -> None:
    """A lagging replica repeats the trigger just after the resolve, then resolves too: nobody is woken."""
    path = Path(control(PAGE))
    event(path, "trigger", starts_at=START)
    path.now += 30_000
    event(path, "resolve", ends_at=START + 29_000)
    path.now += 3000
    event(path, "trigger", starts_at=START)
    path.now += 3000
    event(path, "trigger", starts_at=START)
    assert path.outcomes == ["opened", "resolved", "deduplicated"], "the straggler waits"
    path.now += 3000
    event(path, "resolve", ends_at=START + 29_000)
    path.tick(3600)
    assert path.outcomes == ["opened", "resolved", "deduplicated", "stale", "unmatched"]
    assert [n.transition for n in path.notifications] == ["triggered", "resolved"]


def test_a_straggler_without_a_second_resolve_opens() -> None:
    """What still fires when the hold is over, 60 s after the resolve, is a new incident that counts its repeats."""
    path = Path(control(PAGE))
    event(path, "trigger", starts_at=START)
    path.now += 30_000
    event(path, "resolve", ends_at=START + 29_000)
    path.now += 3000
    event(path, "trigger", starts_at=START)
    event(path, "trigger", starts_at=START)
    path.tick(56)
    assert statuses(path) == [Status.RESOLVED]
    path.tick(2)
    assert statuses(path) == [Status.RESOLVED, Status.OPEN]
    assert path.outcomes == ["opened", "resolved", "deduplicated", "opened"]
    assert [n.transition for n in path.notifications] == ["triggered", "resolved", "triggered"]
    event(path, "resolve", ends_at=path.now)
    assert statuses(path) == [Status.RESOLVED, Status.RESOLVED]


def test_a_release_that_a_crash_repeats_opens_once() -> None:
    """A worker that died after it released a held alert releases it again: one incident, one row."""
    path = Path()
    event(path, "trigger", starts_at=START)
    event(path, "resolve", ends_at=START + 1)
    event(path, "trigger", starts_at=START)
    path.tick(61)
    released = path.logs[topics.ALERTS_UNIQUE.name][-1]
    before = (path.outcomes, path.incidents)
    path.append(topics.ALERTS_UNIQUE.name, released.value, released.key)
    path.tick(1)
    assert (path.outcomes, path.incidents) == before
    assert before[0] == ["opened", "resolved", "opened"]


def test_the_same_start_long_after_the_resolve_opens_at_once() -> None:
    """Alertmanager fires again minutes later with the first start: it is open, and not only after an hour."""
    path = Path()
    event(path, "trigger", starts_at=START)
    path.now += 30_000
    event(path, "resolve", ends_at=START + 20_000)
    path.now += 300_000
    event(path, "trigger", starts_at=START)
    assert path.outcomes == ["opened", "resolved", "opened"]


def test_the_hold_is_a_setting_of_the_service() -> None:
    """A service without a hold opens at once."""
    path = Path(control(("service/default/web", {"id": "web", "straggler_hold": 0})))
    for action, times in (("trigger", {"starts_at": START}), ("resolve", {"ends_at": START + 1})) * 2:
        event(path, action, **times)
    assert path.outcomes == ["opened", "resolved", "opened", "resolved"]


def test_a_newer_beginning_ends_the_hold() -> None:
    """A trigger that the sender's clock puts after the resolve opens at once; what was held is its repeat."""
    path = Path()
    event(path, "trigger", starts_at=START)
    event(path, "resolve", ends_at=START + 10)
    event(path, "trigger", starts_at=START)
    event(path, "trigger", starts_at=START + 20)
    assert path.outcomes == ["opened", "resolved", "deduplicated", "opened"]
    path.tick(3600)
    assert len(path.incidents) == 2


def test_a_resolve_that_overtakes_its_trigger_ends_it() -> None:
    """Delivered in the wrong order, the pair opens nothing."""
    path = Path()
    event(path, "resolve", starts_at=START, ends_at=START + 10)
    event(path, "trigger", starts_at=START)
    path.tick(3600)
    assert path.outcomes == ["unmatched", "stale"]


def test_two_senders_clocks_are_not_compared() -> None:
    """An integration's clock an hour behind does not make its trigger older than another one's resolve."""
    path = Path()
    event(path, "trigger", starts_at=START)
    event(path, "resolve", ends_at=START + 1)
    path.push("trigger", "cpu", timestamp="2025-06-15T14:00:00Z")
    assert path.outcomes == ["opened", "resolved", "opened"]


@settings(max_examples=300, deadline=None)
@given(
    skew=st.integers(-DAY_MS, DAY_MS),
    actions=st.lists(st.sampled_from(["trigger", "resolve"]), min_size=1, max_size=8),
    delays=st.lists(st.integers(0, 60_000), min_size=8, max_size=8),
)
def test_any_skew_and_any_order_within_a_minute(skew: int, actions: list[str], delays: list[int]) -> None:
    """The last event by the sender's clock decides, however far that clock is off and whatever overtook what."""
    path = Path()
    sent = [(START + 1000 * number, action) for number, action in enumerate(actions)]
    arrivals = sorted((at + delay, at, action) for (at, action), delay in zip(sent, delays, strict=False))
    for arrived, at, action in arrivals:
        path.now = arrived
        event(path, action, **{"starts_at" if action == "trigger" else "ends_at": at + skew})
    path.tick(3600)
    is_open = any(status is not Status.RESOLVED for status in statuses(path))
    assert is_open == (actions[-1] == "trigger")
    assert len(path.outcomes) == len(actions)
