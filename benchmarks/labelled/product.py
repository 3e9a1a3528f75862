"""Stormweir's own stages over a storm, in memory. Time comes from the data alone, so a storm of hours takes seconds.

Events pass normalize and then the line of dedup, correlate and dispatch that rehearsals use (streams.rehearsal.line).
Nothing else in this folder imports the product.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from benchmarks.labelled.grader import Page, Result
from schemas import topics
from schemas.control import DEFAULT_TENANT
from schemas.wire.alert import RawEvent
from schemas.wire.codec import decode_alert, encode
from schemas.wire.incident import IncidentEvent
from schemas.wire.notification import Delivery, Notification, Transition
from schemas.wire.rows import AlertOutcome, AlertRow
from streams.control.state import Control
from streams.policy.incidents import MERGED
from streams.rehearsal.line import Line, Listener, Passed
from streams.stages.normalize import Normalize

#: What arrives within so many milliseconds is one batch, as the engine takes what has come.
BATCH_MS = 100
#: After the last event, time goes on for so long.
_AFTER_MS = 3_600_000
#: The reason for which a destination is not told of an incident that has another one as its cause, and that one's id.
_CAUSE = "cause/"


class Settings(NamedTuple):
    """Fields of the tenant and of every service, beside its owner and what it depends on."""

    tenant: Mapping[str, Any]
    service: Mapping[str, Any]


def run(events: Path, topology: Path, settings: Settings) -> Result:
    """The incidents and pages of the storm in these files (benchmarks.labelled.generator: `write`, `hand_over`)."""
    control = _control(orjson.loads(topology.read_bytes()), settings)
    normalize, heard, now, number = Normalize(control), _Heard(), 0, 0
    line = Line(control, heard)
    with events.open("rb") as lines:
        for batch, of_batch in groupby(map(orjson.loads, lines), lambda event: event["at"] // BATCH_MS):
            now = (batch + 1) * BATCH_MS
            raw = [_raw(event, place, now) for place, event in enumerate(of_batch, number)]
            number += len(raw)
            for output in normalize.requests(None, raw, now):
                assert output.topic == topics.ALERTS_NORMALIZED.name, output
                line.take(decode_alert(output.value or b""), now)
    line.advance(now + _AFTER_MS)
    return heard.result()


def timed(events: Path, topology: Path, settings: Settings) -> tuple[Result, float]:
    """The result of `run`, and the seconds that it took."""
    begun = time.monotonic()
    return run(events, topology, settings), time.monotonic() - begun


def _control(handed_over: Mapping[str, Any], settings: Settings) -> Control:
    """The configuration that somebody with this topology and this maintenance would write."""
    control = Control()
    for key, record in _records(handed_over, settings):
        refused = control.apply(key, orjson.dumps(record))
        assert refused is None, refused
    return control


def _records(handed_over: Mapping[str, Any], settings: Settings) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield f"tenant/{DEFAULT_TENANT}", {"id": DEFAULT_TENANT, **settings.tenant}
    services = handed_over["services"]
    depended = {need for about in services.values() for need in about["depends_on"]}
    for name, about in services.items():
        own = {"id": name, "destinations": [about["owner"]], "depends_on": about["depends_on"]}
        if not about["depends_on"] and name not in depended:
            own["domain"] = about["cluster"]
        yield f"service/{DEFAULT_TENANT}/{name}", {**own, **settings.service}
    for number, window in enumerate(handed_over["maintenance"]):
        times = {f"{edge}_at": datetime.fromtimestamp(window[edge] / 1000, UTC) for edge in ("starts", "ends")}
        about = {"id": f"work-{number}", "author": "ada", "reason": "announced", "services": [window["service"]]}
        yield f"maintenance/{DEFAULT_TENANT}/work-{number}", {**about, **times}


def _raw(event: Mapping[str, Any], number: int, now: int) -> Passed:
    """The record of an event. Ids follow from its place, so that the same storm gives the same incidents."""
    event_id = (event["at"] << 80 | number).to_bytes(16, "big")
    body = orjson.dumps(event["body"])
    raw = RawEvent(DEFAULT_TENANT, event["service"], event["service"], "events_v2", event_id, event["at"], body, {})
    return Passed(topics.ALERTS_RAW.name, 0, number, now, None, encode(raw))


class _Heard(Listener):
    """What came out: the first incident of each key, what each incident ended in or has as its cause, and the pages."""

    def __init__(self) -> None:
        self._incidents: dict[str, str] = {}
        self._firsts: dict[str, str] = {}
        self._above: dict[str, str] = {}
        self._pages: list[Page] = []

    def ended(self, row: AlertRow, at: int) -> None:
        """An alert that is a member of an incident."""
        if row.outcome in (AlertOutcome.OPENED, AlertOutcome.CORRELATED):
            incident = bytes(row.incident_id.data).hex()
            self._incidents.setdefault(row.dedup_key, incident)
            self._firsts.setdefault(incident, row.dedup_key)

    def happened(self, event: IncidentEvent, at: int) -> None:
        """An incident whose alerts go on in another."""
        if event.kind == MERGED:
            self._above[event.incident_id.hex()] = event.note.removeprefix("into ").replace("-", "")

    def skipped(self, delivery: Delivery, at: int) -> None:
        """An incident that is told with its cause; of several causes the last."""
        if delivery.error.startswith(_CAUSE):
            self._above[delivery.incident_id.hex()] = delivery.error.removeprefix(_CAUSE).replace("-", "")

    def told(self, notification: Notification, at: int) -> None:
        """The first message of an incident to a destination is a page; it names the incident's first alert."""
        if notification.transition == Transition.TRIGGERED:
            incident = notification.incident.incident_id.hex()
            self._pages.append(Page(at, incident, notification.destination, self._firsts[incident]))

    def result(self) -> Result:
        """Incidents are named by the one at the top: people are paged for that."""
        groups = {key: self._top(incident) for key, incident in self._incidents.items()}
        return Result(groups, [page._replace(incident=self._top(page.incident)) for page in self._pages])

    def _top(self, incident: str) -> str:
        seen: set[str] = set()
        while incident in self._above and incident not in seen:
            seen.add(incident)
            incident = self._above[incident]
        return incident
