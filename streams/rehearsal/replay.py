"""A line that takes what is recorded: alerts in their order, and among them what people did."""

from collections.abc import Iterable

from schemas.wire.command import Command, CommandAction
from streams.rehearsal.line import Line
from streams.rehearsal.recorded import Before, Deed, Recorded
from streams.rehearsal.run import NO_INCIDENT, Run
from streams.stages.configuration import Configuration


class Replay:
    """A run under one configuration. Times are milliseconds; `since` is when counting begins."""

    def __init__(self, configuration: Configuration, since: int, deeds: Iterable[Deed]) -> None:
        self.run = Run(since, {rule.id for rule in configuration.rules.values() if rule.suppress})
        self.before = 0
        self.applied = 0
        self.unapplied = 0
        self._since = since
        self._line = Line(configuration, self.run)
        self._deeds = iter(deeds)
        self._next = next(self._deeds, None)
        self._before = Before()
        self._members: dict[bytes, list[bytes]] = {}

    def take(self, each: Recorded) -> None:
        """One recorded alert, in order."""
        alert = each.alert
        self._act(alert.received_at)
        if self._before.holds(each):
            self.before += alert.received_at >= self._since
            return
        if each.incident_id != NO_INCIDENT:
            members = self._members.setdefault(each.incident_id, [])
            if alert.fingerprint not in members[-1:]:
                members.append(alert.fingerprint)
        self.run.expect(each)
        self._line.take(alert, alert.received_at)

    def finish(self, until: int) -> Run:
        """Let the time that is left pass."""
        self._act(until)
        self._line.advance(until)
        return self.run

    def _act(self, until: int) -> None:
        """Do what people did before `until`."""
        while self._next is not None and self._next.at < until:
            deed, self._next = self._next, next(self._deeds, None)
            self._line.advance(deed.at)
            targets = self._targets(deed) if deed.action is not None else []
            for target in targets:
                self._obey(deed, target)
            if deed.at >= self._since:
                self.applied += bool(targets)
                self.unapplied += not targets

    def _targets(self, deed: Deed) -> list[bytes]:
        """The incidents that hold what the person saw: under another configuration they are other ones."""
        if deed.incident_id in self.run.lives:
            return [deed.incident_id]
        keys = dict.fromkeys(self._members.get(deed.incident_id, ()))
        found = dict.fromkeys(self.run.incident_of[key] for key in keys if key in self.run.incident_of)
        if deed.action is not CommandAction.RESOLVE:
            return list(found)
        # Who resolved a part did not resolve the whole.
        return [each for each in found if keys.keys() >= set(self.run.lives[each].keys)]

    def _obey(self, deed: Deed, incident_id: bytes) -> None:
        assert deed.action is not None
        incident = self.run.lives[incident_id].incident
        command = Command(
            command_id=deed.command_id,
            tenant=incident.tenant,
            incident_id=incident_id,
            correlation_key=incident.correlation_key,
            action=deed.action,
            actor=deed.actor,
            at=deed.at,
            note=deed.note,
        )
        self._line.command(command, deed.at)
