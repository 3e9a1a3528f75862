"""What a cause says of its effects, and how little it keeps of them."""

from typing import Any

from schemas.wire.notification import MAX_RELATED, Notification
from streams.stages import effects
from tests.stages.path import Path, control

PAGE = ("rule/default/all", {"id": "all", "route": ["ops"]})


def mapped(*upstream: tuple[str, str]) -> Path:
    """A path whose services depend on each other: (service, what it depends on)."""
    services = {name for pair in upstream for name in pair}
    records: list[tuple[str, dict[str, Any]]] = [
        (f"service/default/{name}", {"id": name, "depends_on": [other for each, other in upstream if each == name]})
        for name in sorted(services)
    ]
    return Path(control(PAGE, *records))


def news(path: Path) -> Notification:
    """The newest message."""
    return path.notifications[-1]


class TestMany:
    """A cause of very many effects."""

    def test_all_are_counted_and_the_entry_stays_small(self) -> None:
        """Beyond the cap they are a number; each of them is counted once, however often it is asked again."""
        path = mapped(("web", "db"))
        path.push("trigger", "down", service="db")
        over = 150
        for number in range(effects.MAX_EFFECTS + over):
            path.push("trigger", f"slow-{number}", service="web")
        path.tick(60)
        assert (len(news(path).related), news(path).more) == (MAX_RELATED, effects.MAX_EFFECTS + over - MAX_RELATED)
        cause = next(each for each in path.incidents.values() if each.service == "db")
        (kept,) = (value for key, value in path.dispatch_state.items() if effects.cause_of(key) == cause.incident_id)
        assert len(kept) == 20 + 16 * effects.MAX_EFFECTS
        assert len(path.notifications) == 2

    def test_what_is_over_is_not_counted(self) -> None:
        """Named or not, an effect that ended is no longer told of, and its name's place is free."""
        path = mapped(("web", "db"))
        path.push("trigger", "down", service="db")
        every = [f"slow-{number}" for number in range(effects.MAX_EFFECTS + 30)]
        for key in every:
            path.push("trigger", key, service="web")
        for key in [*every[:20], *every[-20:]]:
            path.push("resolve", key, service="web")
        path.tick(60)
        assert len(news(path).related) + news(path).more == len(every) - 40
        path.push("trigger", "new", service="web")
        path.tick(400)
        assert len(news(path).related) + news(path).more == len(every) - 39

    def test_nothing_is_left_of_them(self) -> None:
        """When all is over the table is empty."""
        path = mapped(("web", "db"))
        path.push("trigger", "down", service="db")
        for number in range(effects.MAX_EFFECTS + 10):
            path.push("trigger", f"slow-{number}", service="web")
        path.push("resolve", "down", service="db")
        for number in range(effects.MAX_EFFECTS + 10):
            path.push("resolve", f"slow-{number}", service="web")
        path.tick(1)
        assert not list(path.dispatch_state.items())


def test_effects_that_ended_before_the_news_are_none() -> None:
    """Nobody is told that nothing is affected."""
    path = mapped(("web", "db"))
    path.push("trigger", "down", service="db")
    path.push("trigger", "slow", service="web")
    path.push("resolve", "slow", service="web")
    path.tick(120)
    assert [str(each.transition) for each in path.notifications] == ["triggered"]


def test_a_new_cause_counts_what_the_old_one_did() -> None:
    """A root further up is seen later: what moved to it is told of by it alone."""
    path = mapped(("web", "api"), ("api", "db"))
    path.push("trigger", "down", service="api")
    path.push("trigger", "slow", service="web")
    path.tick(2)
    path.push("trigger", "down", service="db")
    path.tick(120)
    updates = [each for each in path.notifications if str(each.transition) == "updated"]
    assert [(each.incident.service, sorted(other.service for other in each.related)) for each in updates] == [
        ("db", ["api", "web"])
    ]
