"""What others would make of a storm: no grouping, a fixed time window, and an oracle that is told the truth.

Alertmanager is in `alertmanager`. Every page goes to the team that owns the service of the alert that opened the
incident.
"""

from collections.abc import Callable, Iterable

from benchmarks.labelled.generator import MINUTE_MS, Event, Truth
from benchmarks.labelled.grader import Page, Result

WINDOW_MS = 5 * MINUTE_MS


def ungrouped(events: Iterable[Event]) -> Result:
    """Every alert that opens is an incident and a page, again if it opens after a resolve."""
    numbers: dict[str, int] = {}

    def name(event: Event) -> str:
        key: str = event.body["dedup_key"]
        numbers[key] = numbers.get(key, 0) + 1
        return f"{key}#{numbers[key]}"

    return _grouped(events, name)


def time_window(events: Iterable[Event]) -> Result:
    """All alerts that open within the same five minutes of the clock are one incident, with one page."""
    return _grouped(events, lambda event: str(event.at // WINDOW_MS))


def oracle(events: Iterable[Event], truth: Truth) -> Result:
    """Each cause is one incident. A root is paged for at once when the first alert of its own service arrives; nothing
    else is.
    """
    pages: list[Page] = []
    told: set[str] = set()
    for event in events:
        key = event.body["dedup_key"]
        cause = truth.causes[truth.keys[key]]
        if cause.kind == "root" and event.service == cause.service and truth.keys[key] not in told:
            told.add(truth.keys[key])
            pages.append(Page(event.at, truth.keys[key], cause.owner, key))
    return Result(dict(truth.keys), pages)


def _grouped(events: Iterable[Event], name: Callable[[Event], str]) -> Result:
    """Each alert that opens joins the incident of this name; the first one of an incident makes a page."""
    groups: dict[str, str] = {}
    told: set[str] = set()
    pages: list[Page] = []
    is_open: set[str] = set()
    for event in events:
        key = event.body["dedup_key"]
        if event.body["event_action"] == "resolve":
            is_open.discard(key)
        elif key not in is_open:
            is_open.add(key)
            incident = name(event)
            groups.setdefault(key, incident)
            if incident not in told:
                told.add(incident)
                pages.append(Page(event.at, incident, event.body["payload"]["custom_details"]["owner"], key))
    return Result(groups, pages)
