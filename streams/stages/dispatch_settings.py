"""What dispatch decides by: the settings of every tenant, compiled once for each version of the configuration."""

from collections.abc import Sequence
from typing import NamedTuple

from schemas.control import (
    Calendar,
    Escalation,
    Inhibition,
    Maintenance,
    Override,
    Route,
    Schedule,
    Silence,
    SlaTarget,
    Tenant,
    User,
)
from schemas.wire.incident import Incident
from streams.policy.audience import Audience
from streams.policy.calendars import Hours
from streams.policy.incidents import is_storm
from streams.policy.mutes import Inhibitions, Mutes
from streams.policy.oncall import OnCall
from streams.policy.pauses import Clocks
from streams.policy.routing import Routes
from streams.policy.sla import Calendars
from streams.policy.topology import Topology
from streams.stages.configuration import Configuration

#: A tenant that is not declared has the defaults.
_TENANT = Tenant(id="default")


class Causes(NamedTuple):
    """How far a cause and its effect may open apart, how far if they are peers, and how long an effect waits for its
    cause, milliseconds; and whether only storms are causes.
    """

    window: int
    peers: int
    hold: int
    storms: bool


class Settings:
    """The settings at one version; they never change."""

    def __init__(self, control: Configuration) -> None:
        self.version = control.version
        self._services = dict(control.services)
        self._tenants = dict(control.tenants)
        #: By tenant, empty if none counts what opens in all of its services.
        self.storms = {each.id: each.storm for each in control.tenants.values() if each.storm is not None}
        self.topology = Topology(control.services.values())
        self._escalations = dict(control.every(Escalation))
        self.audience = Audience(control.tenants.values(), control.services.values(), control.rules.values())
        self.mutes = Mutes(control.every(Silence).values(), control.every(Maintenance).values())
        self.inhibitions = Inhibitions(control.every(Inhibition).values())
        self.on_call = OnCall(
            control.every(Schedule).values(), control.every(Override).values(), control.every(User).values()
        )
        self.routes = Routes(control.every(Route).values())
        self.hours = {place: Hours(calendar) for place, calendar in control.every(Calendar).items()}

    def storm_wait(self, incident: Incident) -> int:
        """How long a page of the incident's service waits for a storm, milliseconds; 0 for a storm itself."""
        found = self._services.get((incident.tenant, incident.service))
        if found is None or found.storm is None or is_storm(incident):
            return 0
        return found.storm.wait * 1000

    def causes(self, tenant: str) -> Causes:
        """When an incident is the cause of another one."""
        found = self._tenants.get(tenant, _TENANT)
        return Causes(
            window=found.topology_window * 1000,
            peers=found.topology_peers * 1000,
            hold=found.topology_hold * 1000,
            storms=found.topology_causes == "storms",
        )

    def peers(self, tenant: str, service: str) -> tuple[str, ...]:
        """The scope of the possible causes among the service's peers; empty if it has none."""
        found = self._tenants.get(tenant, _TENANT)
        domain = self.topology.peers_of(tenant, service) if found.topology_peers else ""
        return ("", domain) if domain else ()

    def escalation(self, incident: Incident) -> Escalation | None:
        """The policy that pages people for the incident: its service's, else that of a route that takes it."""
        found = self._services.get((incident.tenant, incident.service))
        name = found.escalation if found is not None else None
        if name is None:
            named = (leaf.escalation for leaf in self.routes.match(incident) if leaf.escalation is not None)
            name = next(named, None)
        return self._escalations.get((incident.tenant, name)) if name is not None else None

    def clocks(self, tenant: str, service: str) -> Calendars:
        """The hours in which the clocks of the service's targets run: not in its maintenance."""
        periods = self.mutes.maintenances(tenant, service)
        return Clocks(self.hours, periods) if periods else self.hours

    def targets(self, tenant: str, service: str) -> Sequence[SlaTarget]:
        """The service's targets for the time to acknowledge and to resolve."""
        found = self._services.get((tenant, service))
        return () if found is None else found.sla
