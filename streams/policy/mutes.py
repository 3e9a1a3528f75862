"""What keeps people from being told that an incident is there: silences, maintenance and inhibitions.

- A silence or maintenance mutes starting: while one is active, an incident that opens, rises or reminds is not told.
  The end of what was told is always told.
- A muted incident is looked at again at `until_ms`, and when the record changes: if it is still open and nothing mutes
  it then, what was muted is told.
- A target of an inhibition waits for `hold_ms` past the time at which it opened, then it is told unless a source is
  open. When the last source ends it is decided again.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.control import Inhibition, Maintenance, Period, Silence
from schemas.fingerprint import digest
from schemas.wire.incident import Incident
from streams.policy.language import INCIDENT_FIELDS, field
from streams.policy.matching import Matching
from streams.policy.recurrence import active_until


class Mute(NamedTuple):
    """What mutes an incident: `kind` is silence or maintenance. It must be looked at again at `until_ms`."""

    kind: str
    period: Period
    until_ms: int

    @property
    def name(self) -> str:
        """As the reason why somebody is not told has it."""
        return f"{self.kind}/{self.period.id}"


class Inhibit(NamedTuple):
    """While a source with this key is open, its target is not told; before that it waits `hold_ms` for one."""

    key: bytes
    id: str
    hold_ms: int


class Mutes:
    """Every tenant's silences and maintenance, compiled once; a Mutes never changes."""

    def __init__(self, silences: Iterable[Silence] = (), maintenances: Iterable[Maintenance] = ()) -> None:
        by_tenant: dict[str, list[Silence]] = {}
        self._named: dict[tuple[str, str], Period] = {}
        for silence in silences:
            self._named[silence.tenant, f"silence/{silence.id}"] = silence
            by_tenant.setdefault(silence.tenant, []).append(silence)
        self._silences = {
            tenant: Matching((each.match, each) for each in listed) for tenant, listed in by_tenant.items()
        }
        self._maintenances: dict[tuple[str, str], list[Maintenance]] = {}
        for maintenance in maintenances:
            self._named[maintenance.tenant, f"maintenance/{maintenance.id}"] = maintenance
            for service in maintenance.services:
                self._maintenances.setdefault((maintenance.tenant, service), []).append(maintenance)

    def find(self, incident: Incident, now: int) -> Mute | None:
        """What mutes the incident at `now`, in milliseconds; of several what lasts longest."""
        silences = self._silences.get(incident.tenant)
        found = [] if silences is None else [_mute("silence", each, now) for each in silences.find(incident)]
        maintained = self._maintenances.get((incident.tenant, incident.service), ())
        found += [_mute("maintenance", each, now) for each in maintained]
        active = [each for each in found if each is not None]
        return max(active, key=lambda mute: (mute.until_ms, mute.name)) if active else None

    def active(self, tenant: str, name: str, now: int) -> Mute | None:
        """The mute with this name, if it is active at `now`, in milliseconds."""
        period = self._named.get((tenant, name))
        return None if period is None else _mute(name.partition("/")[0], period, now)

    def maintenances(self, tenant: str, service: str) -> Sequence[Maintenance]:
        """The times in which people work on a service, also those that are over or to come."""
        return self._maintenances.get((tenant, service), ())


def _mute(kind: str, period: Period, now: int) -> Mute | None:
    until = active_until(period, now)
    return None if until is None else Mute(kind, period, until)


class Inhibitions:
    """Every tenant's inhibitions, compiled once; an Inhibitions never changes.

    As in Alertmanager, an incident on both sides of an inhibition inhibits nothing that is on both sides as well, so
    neither itself nor its like. Its keys are therefore others than those of an incident on the source side only.
    https://prometheus.io/docs/alerting/latest/configuration/#inhibition-related-settings
    """

    def __init__(self, records: Iterable[Inhibition] = ()) -> None:
        by_tenant: dict[str, list[Inhibition]] = {}
        for record in records:
            by_tenant.setdefault(record.tenant, []).append(record)
        self._sides = {
            tenant: (Matching((each.source, each) for each in listed), Matching((each.target, each) for each in listed))
            for tenant, listed in by_tenant.items()
        }

    def as_source(self, incident: Incident) -> list[bytes]:
        """The keys under which this incident inhibits others while it is open."""
        sources, targets = self._match(incident)
        return [_key(each, incident, both=name in targets) for name, each in sources.items()]

    def as_target(self, incident: Incident) -> list[Inhibit]:
        """What may inhibit this incident; an incident that is on no target side costs two look-ups."""
        sources, targets = self._match(incident)
        return [
            Inhibit(_key(each, incident, both=both), each.id, each.hold * 1000)
            for name, each in targets.items()
            for both in ((False,) if name in sources else (False, True))
        ]

    def _match(self, incident: Incident) -> tuple[dict[str, Inhibition], dict[str, Inhibition]]:
        """The inhibitions whose source side it is on, and those whose target side."""
        sides = self._sides.get(incident.tenant)
        if sides is None:
            return {}, {}
        sources, targets = sides
        return {each.id: each for each in sources.find(incident)}, {each.id: each for each in targets.find(incident)}


def _key(inhibition: Inhibition, incident: Incident, *, both: bool) -> bytes:
    """A missing field is equal to a missing one, as in Alertmanager."""
    values = [field(name, INCIDENT_FIELDS)(incident) for name in inhibition.equal]
    return digest(inhibition.tenant, inhibition.id, "both" if both else "source", *values)
