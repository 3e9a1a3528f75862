"""Who is told of an incident's change, and why others are not.

Destinations of an alert are those that rules route to and its service's own; without either those of the tenant's
`severity_routes`. Whether a destination is told of one change is decided in this order: the service's flags, whether it
was told that the incident is there, quiet hours of the service, quiet hours of the rules that route to it.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from schemas.control import Rule, Service, Tenant
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident
from schemas.wire.notification import Transition
from streams.policy.quiet import Window, compile_hours, is_quiet


class Skip(StrEnum):
    """Why a destination is not told of a change."""

    FLAG_OFF = "flag_off"
    NOT_TOLD = "not_told"
    QUIET_HOURS = "quiet_hours"
    SEVERITY_NOT_NOTIFIED = "severity_not_notified"
    NO_DESTINATION = "no_destination"
    NOBODY_ON_CALL = "nobody_on_call"
    MERGED = "merged"


class Call(NamedTuple):
    """The decision on one destination: `skip` is None if it is told, with these `mentions`."""

    skip: Skip | None = None
    mentions: tuple[str, ...] = ()


_TOLD = Call()
#: Changes that say that an incident is there; the others say what became of it.
_ANNOUNCES = frozenset({Transition.TRIGGERED, Transition.ESCALATED, Transition.REMINDER, Transition.SLA_BREACH})


class _Service(NamedTuple):
    off: frozenset[Transition]
    destinations: tuple[str, ...]
    windows: tuple[Window, ...]


class _Rule(NamedTuple):
    route: frozenset[str]
    mentions: tuple[str, ...]
    windows: tuple[Window, ...]


class Audience:
    """The settings of every tenant, compiled once; an Audience never changes. What is not set costs a look-up."""

    def __init__(
        self, tenants: Iterable[Tenant] = (), services: Iterable[Service] = (), rules: Iterable[Rule] = ()
    ) -> None:
        self._defaults = {
            tenant.id: {Severity[name.upper()]: list(places) for name, places in tenant.severity_routes.items()}
            for tenant in tenants
            if tenant.severity_routes
        }
        compiled = {(service.tenant, service.id): _service(service) for service in services}
        self._services = {place: service for place, service in compiled.items() if any(service)}
        # One rule without quiet hours makes a destination hear, so all rules of a tenant count as soon as one has any.
        self._rules: dict[str, dict[str, _Rule]] = {}
        rules = tuple(rules)
        special = {rule.tenant for rule in rules if rule.mentions or rule.quiet_hours}
        for rule in rules:
            if rule.tenant in special and rule.route:
                windows = tuple(map(compile_hours, rule.quiet_hours))
                self._rules.setdefault(rule.tenant, {})[rule.id] = _Rule(frozenset(rule.route), rule.mentions, windows)

    def destinations(self, tenant: str, service: str, severity: Severity, routes: list[str]) -> list[str]:
        """The destinations of an alert that rules route to `routes`."""
        found = self._services.get((tenant, service))
        if found is not None and found.destinations:
            return [*routes, *(name for name in found.destinations if name not in routes)]
        if routes or tenant not in self._defaults:
            return routes
        return self._defaults[tenant].get(severity, [])

    def own(self, tenant: str, service: str) -> list[str]:
        """The service's own destinations."""
        found = self._services.get((tenant, service))
        return list(found.destinations) if found is not None else []

    def keeps(self, tenant: str, service: str) -> bool:
        """Whether the service's flags or quiet hours keep something from destinations."""
        found = self._services.get((tenant, service))
        return found is not None and bool(found.off or found.windows)

    def nobody(self, tenant: str, severity: Severity) -> Skip | None:
        """Why an alert has no destination. None for a tenant without `severity_routes`: it did not say who is told."""
        defaults = self._defaults.get(tenant)
        if defaults is None:
            return None
        return Skip.SEVERITY_NOT_NOTIFIED if severity in defaults else Skip.NO_DESTINATION

    def call(
        self, incident: Incident, transition: Transition, destination: str, rules: str, heard: bool, now: int
    ) -> Call:
        """Whether a destination is told of a change of the incident at `now`, in milliseconds.

        `rules` are the ids of the rules that matched, comma-separated. `heard` is false if quiet hours kept the
        incident from the destination so far.
        """
        service = self._services.get((incident.tenant, incident.service))
        if service is not None and transition in service.off:
            return Call(Skip.FLAG_OFF)
        if not heard and transition not in _ANNOUNCES:
            return Call(Skip.NOT_TOLD)
        known = self._rules.get(incident.tenant)
        if service is None and known is None:
            return _TOLD
        if service is not None and is_quiet(service.windows, incident.severity, destination, now):
            return Call(Skip.QUIET_HOURS)
        if known is None:
            return _TOLD
        matched = (known.get(rule) for rule in rules.split(","))
        routing = [rule for rule in matched if rule is not None and destination in rule.route]
        own = service is not None and destination in service.destinations
        if routing and not own and all(is_quiet(rule.windows, incident.severity, destination, now) for rule in routing):
            return Call(Skip.QUIET_HOURS)
        return Call(None, tuple(dict.fromkeys(mention for rule in routing for mention in rule.mentions)))


def _service(service: Service) -> _Service:
    notify = service.notify
    flags = {
        Transition.TRIGGERED: notify.triggered,
        Transition.ESCALATED: notify.triggered,
        Transition.ACKNOWLEDGED: notify.acknowledged,
        Transition.RESOLVED: notify.resolved,
        Transition.UNACKNOWLEDGED: notify.acknowledged,
        Transition.REMINDER: notify.triggered,
        Transition.SLA_BREACH: notify.sla_breach,
        Transition.UPDATED: notify.triggered,
    }
    off = frozenset(transition for transition, on in flags.items() if not on)
    return _Service(off, service.destinations, tuple(map(compile_hours, service.quiet_hours)))
