"""What `stormweir apply` and `check` verify beyond each record by itself and its references: one function a concern.

A check gets all records as they would be, by control key, and tells problems of any of them. Problems stop `apply`;
warnings are shown.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.control import (
    AnyRecord,
    Heartbeat,
    Inhibition,
    Integration,
    Override,
    Period,
    Route,
    Rule,
    Schedule,
    Service,
    Silence,
    Tenant,
    User,
    control_key,
)
from schemas.control.route import Branch
from streams.policy import language
from streams.policy.matching import is_broad
from streams.policy.oncall import OnCall
from streams.policy.topology import Topology, cycle
from streams.providers import PROVIDERS

Everything = Mapping[str, AnyRecord]

#: Days after which a silence or maintenance should be thought about again; what repeats is meant to last.
LONG_DAYS = 90
LONG_RECURRING_DAYS = 366
#: Days from now on in which somebody should be on call in every schedule.
GAP_DAYS = 14
_DAY_MS = 86_400_000


class Problem(NamedTuple):
    """What is wrong with the field `path` of the record at a control key."""

    key: str
    path: str
    text: str
    warning: bool = False


def _types(everything: Everything) -> Iterator[Problem]:
    for key, record in everything.items():
        if isinstance(record, Integration) and record.type not in PROVIDERS:
            yield Problem(key, "type", f"{record.type!r} is none of {', '.join(PROVIDERS)}")


def _conditions(everything: Everything) -> Iterator[Problem]:
    """Calendars that do not exist; a warning for rules that can never match."""
    for key, record in everything.items():
        if not isinstance(record, Rule):
            continue
        for path, line in zip(record.condition_paths, record.conditions, strict=True):
            for calendar in sorted(language.calendars(language.parse([line]))):
                if f"calendar/{record.tenant}/{calendar}" not in everything:
                    yield Problem(key, path, f"no calendar {calendar!r}")
        if not language.can_hold(language.parse(record.conditions), language.DOMAINS):
            path = "match" if record.match else "when"
            yield Problem(key, path, "the rule can never match: its conditions exclude each other", warning=True)


def _periods(everything: Everything) -> Iterator[Problem]:
    now = time.time_ns() // 1_000_000
    for key, record in everything.items():
        if not isinstance(record, Period):
            continue
        if record.ends_ms <= now:
            yield Problem(key, "ends_at", "is over: it mutes nothing", warning=True)
        most = LONG_DAYS if record.recurrence is None else LONG_RECURRING_DAYS
        if record.ends_ms - record.starts_ms > most * _DAY_MS:
            yield Problem(key, "ends_at", f"is more than {most} days after starts_at", warning=True)
        if record.recurrence is not None and record.recurrence.overlaps(record.anchor):
            yield Problem(key, "recurrence.duration", "is longer than the time until the next occurrence begins")


def _silences(everything: Everything) -> Iterator[Problem]:
    for key, record in everything.items():
        if not isinstance(record, Silence):
            continue
        wrong = list(_lines(key, "match", record.match))
        yield from wrong
        if not wrong and not record.everything and is_broad(record.match):
            yield Problem(
                key,
                "match",
                'may hide every incident, because no line names a service, a label or a key, as service="web"; '
                "say `everything: true` if that is meant",
            )


def _inhibitions(everything: Everything) -> Iterator[Problem]:
    declared = (record for record in everything.values() if isinstance(record, Service))
    tenants = (record for record in everything.values() if isinstance(record, Tenant))
    domain = Topology(declared, tenants).domain
    for key, record in everything.items():
        if not isinstance(record, Inhibition):
            continue
        wrong = [*_lines(key, "source", record.source), *_lines(key, "target", record.target)]
        yield from wrong
        if wrong:
            continue
        if not record.equal and is_broad(record.target):
            text = "is empty and no line of target names a service or label: one source hides every such incident"
            yield Problem(key, "equal", text, warning=True)
        if "service" in record.equal:
            continue
        services = {
            service
            for lines in (record.source, record.target)
            for service in language.equalities(lines).get("service", _declared(everything, record.tenant))
        }
        domains = {domain(record.tenant, service) for service in services}
        if len(domains) > 1:
            text = (
                "may be of another domain than source, and incidents of two domains are not seen together: "
                "name services of one domain on both sides, or add service to equal"
            )
            yield Problem(key, "target", text)


def _topology(everything: Everything) -> Iterator[Problem]:
    services = [record for record in everything.values() if isinstance(record, Service)]
    found = cycle(services)
    if found is not None:
        service, names = found
        yield Problem(control_key(service), "depends_on", f"is a cycle: {' -> '.join(names[:20])}")
        return
    topology = Topology(services)
    for service in services:
        if service.domain is not None and (other := topology.domain(service.tenant, service.id)) != service.domain:
            text = f"is another one than {other!r} of a service that it is connected to: they would be seen apart"
            yield Problem(control_key(service), "domain", text)


def _routes(everything: Everything) -> Iterator[Problem]:
    roots: dict[str, list[tuple[str, Route]]] = {}
    for key, record in everything.items():
        if isinstance(record, Route):
            roots.setdefault(record.tenant, []).append((key, record))
            for path, _, branch in record.walk():
                yield from _lines(key, f"{path}match", branch.match)
                for index, before in _unreached(branch.routes):
                    yield Problem(key, f"{path}routes.{index}", f"{_UNREACHED} routes.{before}", warning=True)
    for listed in roots.values():
        listed.sort(key=lambda each: (each[1].order, each[1].id))
        for index, before in _unreached([root for _, root in listed]):
            yield Problem(listed[index][0], "order", f"{_UNREACHED} {listed[before][1].id}", warning=True)


_UNREACHED = "can take nothing: every incident is taken by"


def _unreached(siblings: Sequence[Branch]) -> Iterator[tuple[int, int]]:
    """The places of siblings behind one that takes everything and does not continue, with the place of that one."""
    last = next((index for index, each in enumerate(siblings) if not each.match and not each.continue_), None)
    if last is not None:
        yield from ((index, last) for index in range(last + 1, len(siblings)))


def _declared(everything: Everything, tenant: str) -> frozenset[str]:
    return frozenset(each.id for each in everything.values() if isinstance(each, Service) and each.tenant == tenant)


def _lines(key: str, name: str, lines: Sequence[str]) -> Iterator[Problem]:
    """The lines of a field that are no conditions."""
    for index, line in enumerate(lines):
        try:
            language.check([line])
        except ValueError as error:
            yield Problem(key, f"{name}.{index}", str(error))


#: A shorter grace than this may be over before the stage of heartbeats knows of an outage, seconds.
_SAFE_GRACE_S = 10


def _heartbeats(everything: Everything) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key, record in everything.items():
        if not isinstance(record, Heartbeat):
            continue
        if record.key is not None and first.setdefault(record.key, key) != key:
            yield Problem(key, "key", f"is the same as that of {first[record.key]}")
        yield from _lines(key, "match", record.match)
        if record.grace < _SAFE_GRACE_S:
            text = f"below {_SAFE_GRACE_S} s a short outage of Stormweir may look like a missing beat"
            yield Problem(key, "grace", text, warning=True)


def _people(everything: Everything) -> Iterator[Problem]:
    """Accounts that two users have; a warning for times in which nobody is on call."""
    first: dict[tuple[str, str], str] = {}
    for key, record in everything.items():
        if isinstance(record, User):
            for index, account in enumerate(record.accounts):
                if (other := first.setdefault((record.tenant, account), key)) != key:
                    yield Problem(key, f"accounts.{index}", f"is the same as that of {other}")
    schedules = [each for each in everything.values() if isinstance(each, Schedule)]
    oncall = OnCall(schedules, (each for each in everything.values() if isinstance(each, Override)))
    now = time.time_ns() // 1_000_000
    for key, record in everything.items():
        if isinstance(record, Schedule):
            for gap in oncall.gaps(record.tenant, record.id, now, now + GAP_DAYS * _DAY_MS)[:1]:
                begin, end = (
                    datetime.fromtimestamp(at // 1000, ZoneInfo(record.zone)).isoformat(" ", "minutes") for at in gap
                )
                yield Problem(key, "layers", f"nobody is on call from {begin} to {end}", warning=True)


CHECKS: tuple[Callable[[Everything], Iterator[Problem]], ...] = (
    _types,
    _conditions,
    _periods,
    _silences,
    _inhibitions,
    _topology,
    _routes,
    _heartbeats,
    _people,
)
