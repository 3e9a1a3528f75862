"""What a replay tells: whether it decides as it is recorded, and what another configuration would have changed.

A report is plain JSON values. Times are ISO 8601 in UTC, ids are text, shares are between 0 and 1. The same history and
configurations give the same bytes; `hash` is the SHA-256 of all of it.

A key (an alert's fingerprint) counts as told if somebody was told of an incident that it is part of.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from statistics import quantiles
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from schemas.control import Schedule, User
from schemas.fingerprint import uuid_text
from schemas.wire.incident import Incident
from streams.rehearsal.reasons import sentence
from streams.rehearsal.recorded import Deed, First
from streams.rehearsal.replay import Replay
from streams.rehearsal.run import NO_INCIDENT, SHOWN, Ended, Life, Run
from streams.stages.configuration import Configuration

Report = dict[str, Any]

#: Local hours in which a page takes somebody's sleep: from 22:00 to 08:00.
NIGHT_FROM, NIGHT_TO = 22, 8
#: At the end of the window what is told may be recorded as of after it.
SLACK_MS = 2_000
#: Incidents of a comparison that are listed.
WORST = 20


class Acted(NamedTuple):
    """The first thing that a person did with an incident."""

    at: int
    actor: str


def equality(replay: Replay, firsts: Iterable[First], fallbacks: Set[str], until: int) -> Report:
    """How the run differs from what is recorded: outcomes of alerts, their incidents, and who was told first.

    What `fallbacks` got from other destinations is the notifier's doing, and left out.
    """
    run = replay.run
    messages = list(_message_differences(run, firsts, fallbacks, until - SLACK_MS))
    lines = [
        f"{_time(each.at)} {each.service} {each.dedup_key}: "
        f"recorded {_ended(each.recorded)}, replayed {_ended(each.replayed)}"
        for each in run.differences
    ]
    return {
        "equal": not run.different and not messages,
        "alerts": sum(run.alerts.values()),
        "different_alerts": run.different,
        "different_messages": len(messages),
        "differences": (lines + messages)[:SHOWN],
    }


def summary(replay: Replay, configuration: Configuration, acted: Mapping[bytes, Acted]) -> Report:
    """The figures of one run. `acted` has by key what a person did first."""
    run = replay.run
    opened = list(run.opened)
    told = [life for life in opened if life.told_at]
    noise = sum(1 for life in told if not any(key in acted for key in life.keys))
    delays = sorted((life.told_at - life.incident.opened_at) / 1000 for life in told)
    return {
        "alerts": {outcome.name.lower(): count for outcome, count in sorted(run.alerts.items())},
        "carried_over": replay.before,
        "undecided": run.undecided,
        "acts": {"applied": replay.applied, "not_applied": replay.unapplied},
        "incidents": len(opened),
        "incidents_told": len(told),
        "pages": len(run.pages),
        "messages": run.messages,
        "by_destination": dict(sorted(Counter(page.destination for page in run.pages).items())),
        "by_person": _persons(run, configuration),
        "seconds_to_first_page": _percentiles(delays),
        "noise_ratio": round(noise / len(told), 4) if told else None,
        "rules": {
            rule: {"alerts": count, "suppressed": run.hidden[rule]} for rule, count in sorted(run.matched.items())
        },
        "kept_from_people": dict(sorted(run.kept.items())),
        "decisions": run.decisions,
    }


def comparison(old: Run, new: Run, acted: Mapping[bytes, Acted], deeds: Sequence[Deed], late_ms: int) -> Report:
    """What the new configuration changes: who would have been told of what."""
    keys = sorted({*_keys(old), *_keys(new)})
    matrix: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    for key in keys:
        before, after = _first_told(old, key), _first_told(new, key)
        matrix[("both" if after else "only_old") if before else ("only_new" if after else "neither")] += 1
        if before and not after:
            causes[_cause(new, key)] += 1
    lives = {life.incident.incident_id: life for life in old.opened if life.told_at}
    missed = late = 0
    listed: list[tuple[Any, Report]] = []
    for incident_id, life in lives.items():
        after = min((at for key in life.keys if (at := _first_told(new, key))), default=0)
        is_late = after > life.told_at + late_ms
        if after and not is_late:
            continue
        someone = any(key in acted for key in life.keys)
        late += someone and after > 0
        missed += someone and not after
        incident = life.incident
        place = (not someone, bool(after), -incident.severity, -life.pages, incident.opened_at, incident_id)
        trail = [*_then(life, deeds), *_now(new, life, after)]
        listed.append((place, {**_described(incident), "acted_on": someone, "trail": trail}))
    listed.sort(key=lambda each: each[0])
    return {
        "keys": {name: matrix[name] for name in ("both", "only_old", "only_new", "neither")},
        "missed": missed,
        "late": late,
        "late_after_seconds": late_ms // 1000,
        "hidden_by": dict(sorted(causes.items())),
        "worst": [report for _, report in listed[:WORST]],
    }


def sealed(report: Report) -> Report:
    """The report with its hash."""
    canonical = json.dumps(report, sort_keys=True, separators=(",", ":"))
    return {**report, "hash": hashlib.sha256(canonical.encode()).hexdigest()}


def acts_by_key(run: Run, deeds: Iterable[Deed], since: int) -> dict[bytes, Acted]:
    """What a person did first with each key, by the incidents of the run."""
    found: dict[bytes, Acted] = {}
    for deed in deeds:
        life = run.lives.get(deed.incident_id)
        if life is not None and deed.at >= since:
            for key in life.keys:
                found.setdefault(key, Acted(deed.at, deed.actor))
    return found


def _message_differences(run: Run, firsts: Iterable[First], fallbacks: Set[str], until: int) -> Iterator[str]:
    """Destinations that were told of an incident by the record alone, or by the replay alone."""
    known = {life.incident.incident_id for life in run.opened}
    recorded = {
        (each.incident_id, each.destination): each
        for each in firsts
        if each.incident_id in known and each.destination and each.at < until
    }
    replayed = {place: at for place, at in run.firsts.items() if place[0] in known and at < until}
    places = {*recorded, *replayed}
    for place in sorted(places, key=lambda place: (run.lives[place[0]].incident.opened_at, place)):
        one = recorded.get(place)
        was, would = one is not None and one.told, place in replayed
        if was == would or (was and place[1] in fallbacks):
            continue
        incident = run.lives[place[0]].incident
        why = "" if one is None or not one.reasons else f" ({', '.join(one.reasons)})"
        yield (
            f"{_time(incident.opened_at)} {incident.service} {incident.dedup_key}: {place[1]} "
            f"{'was' if was else 'was not'} told{why}, by the replay it {'is' if would else 'is not'}"
        )


def _persons(run: Run, configuration: Configuration) -> Report:
    """Pages by person, and how many of them at night, by the clocks of a schedule with the person, else in UTC."""
    zones: dict[tuple[str, str], str] = {}
    for schedule in sorted(configuration.every(Schedule).values(), key=lambda each: each.id):
        for layer in schedule.layers:
            for member in layer.users:
                zones.setdefault((schedule.tenant, member), schedule.zone)
    found: Report = {}
    for (tenant, name), user in sorted(configuration.every(User).items()):
        places = {contact.destination for contact in user.destinations}
        zone = ZoneInfo(zones.get((tenant, name), "UTC"))
        pages = [page for page in run.pages if page.destination in places]
        hours = [datetime.fromtimestamp(page.at / 1000, zone).hour for page in pages]
        night = sum(hour >= NIGHT_FROM or hour < NIGHT_TO for hour in hours)
        if pages:
            found[name] = {"pages": len(pages), "at_night": night}
    return found


def _keys(run: Run) -> Iterator[bytes]:
    for life in run.opened:
        yield from life.keys
    yield from run.suppressed


def _first_told(run: Run, key: bytes) -> int:
    return min((at for each in run.by_key.get(key, ()) if (at := run.lives[each].told_at)), default=0)


def _cause(run: Run, key: bytes) -> str:
    """What hides the key: the rules that suppress it, what keeps its incident from people, or nothing of these."""
    incidents = run.by_key.get(key)
    if not incidents:
        return f"rule/{run.suppressed[key]}" if key in run.suppressed else "no incident"
    return ", ".join(sorted({reason for each in incidents for reason in run.lives[each].kept})) or "no destination"


def _then(life: Life, deeds: Iterable[Deed]) -> Iterator[str]:
    incident = life.incident
    seconds = (life.told_at - incident.opened_at) / 1000
    yield f"{_time(incident.opened_at)} it opened; the first page left {seconds:,.1f} s later"
    for deed in deeds:
        if deed.incident_id == incident.incident_id:
            yield f"{_time(deed.at)} {deed.kind} by {deed.actor}"


def _now(run: Run, life: Life, after: int) -> Iterator[str]:
    """Under the new configuration."""
    if after:
        yield f"now the first page leaves {(after - life.told_at) / 1000:,.1f} s later than then"
    for cause in sorted({_cause(run, key) for key in life.keys}):
        why = "; ".join(sentence(each) or each for each in cause.split(", "))
        if cause.startswith("rule/"):
            why = f"suppressed by {cause.removeprefix('rule/')}"
        if not after:
            yield f"now nobody is told: {why}"


def _described(incident: Incident) -> Report:
    return {
        "incident_id": uuid_text(incident.incident_id),
        "opened_at": _time(incident.opened_at),
        "severity": incident.severity.name.lower(),
        "service": incident.service,
        "title": incident.title,
    }


def _ended(ended: Ended) -> str:
    rule = f" by {ended.rule}" if ended.rule else ""
    incident = f" in {uuid_text(ended.incident_id)[:13]}" if ended.incident_id != NO_INCIDENT else ""
    return f"{ended.outcome.name.lower()}{rule}{incident}"


def _percentiles(values: Sequence[float]) -> Report:
    """The median and the 95th percentile, None without values."""
    if len(values) < 2:
        return {"p50": values[0] if values else None, "p95": values[0] if values else None}
    cuts = quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 3), "p95": round(cuts[18], 3)}


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
