"""Dispatch: who is told of an incident's change, and when.

Takes `incidents.changes` (key: tenant and domain, so that incidents which depend on each other are decided on in one
order). Gives notifications, and for each destination that is not told of a change a row on `notifications.results`
that says why.

- A destination that a later alert adds first hears that the incident is there, then of the changes that follow.
- What may keep an incident from people is asked when it opens, and again while it does: a silence, maintenance, an
  open source of an inhibition, an open incident upstream that is its cause. It keeps beginnings only; the end of what
  was told is told.
- A tenant's routes put incidents into groups that share messages (streams.stages.groups).
- After a page of a service that may have a storm, the next ones wait for it: a storm takes them in.
- When a tenant's openings exceed a rate, one incident is told for all (streams.stages.tenant_storms).
- The service's escalation policy pages people until somebody acknowledges, and its targets are watched, by timers.
- The service's flags and quiet hours have the last word on each message (streams.policy.audience).

The table has one entry for an open incident that somebody may have to be told of.
"""

from collections.abc import Iterator, Sequence

from schemas.fingerprint import digest, scope_of, uuid_text
from schemas.records import Output, Record, State, is_again
from schemas.topics import ALERTS_UNIQUE
from schemas.wire.codec import decode_incident_change, encode
from schemas.wire.command import COMMAND_HEADER, Command, CommandAction
from schemas.wire.incident import IncidentChange, Status
from schemas.wire.notification import MAX_RELATED, Change, Related, Transition
from streams.policy import escalation, sla
from streams.policy.audience import Skip
from streams.policy.incidents import MERGED
from streams.policy.routing import Leaf
from streams.stages import causes, effects, groups, muted, shifts, tenant_storms
from streams.stages.configuration import Configuration
from streams.stages.dispatch_settings import Settings
from streams.stages.dispatch_table import Table, Told, group_of
from streams.stages.messages import TIMED, Notice, message, skipped

#: The changes of an incident that its destinations hear of as they come.
_CHANGES = frozenset(Transition) - TIMED - {Transition.TRIGGERED}
#: What people did about an incident; its groups do not tell it.
_HANDLED = frozenset({Transition.ACKNOWLEDGED, Transition.UNACKNOWLEDGED})
#: What keeps an incident from people is asked again after this time: the configuration may have changed.
RECHECK_MS = 10_000
#: In maintenance the targets of what was told before are computed anew after this time: it may end early.
TARGETS_MS = 60_000
#: The actor of what Stormweir does by itself.
ACTOR = "stormweir"


class Dispatch:
    """The stage. `control`, which is kept up to date elsewhere, says who is told."""

    def __init__(self, control: Configuration) -> None:
        self._control = control
        self._settings = Settings(control)

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Process a batch; see the module."""
        self._follow()
        table = Table(state)
        for record in records:
            change = decode_incident_change(record.value or b"")
            lane = f"correlate/{change.via_partition}"
            if change.via >= 0:
                if change.via > state.marks.get(lane, -1):
                    state.marks[lane] = change.via
                elif not is_again(record):
                    continue  # a copy, which a crashed worker sent twice
            # The partition's time may stand still while a stage before this one is behind; a record's does not.
            yield from self._take(table, change, max(now, record.timestamp))

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterator[Output]:
        """Ask again what keeps an incident from people, page the next ones, and tell of targets that are missed."""
        self._follow()
        table = Table(state)
        for key, _ in due:
            told, group = table.at(key), group_of(key)
            if group is not None:
                yield from self._flush(table, [group], now)
            elif muted.is_list(key):
                notice = muted.look(table, self._settings.mutes, key, now)
                if notice is not None:
                    yield from self._notify(table, notice, now)
            elif shifts.is_shift(key):
                for each in shifts.look(table, key, self._settings.on_call, now):
                    yield from self._notify(table, each, now)
            elif (cause := effects.cause_of(key)) is not None:
                told = table.incident(cause) or tenant_storms.leader(table, cause)
                if told is not None:
                    yield from self._news(table, told, cause, now)
                else:
                    effects.end(table, cause)
            elif tenant_storms.is_storm(key):
                yield from self._lead(table, tenant_storms.look(table, self._settings, key, now), now)
            elif told is None:
                table.expire(key)
            else:
                yield from self._wait(table, told, now)
                yield from self._watch(table, told, now)
                yield from self._climb(told, now)
                table.keep(told)

    def _follow(self) -> None:
        if self._settings.version != self._control.version:
            self._settings = Settings(self._control)

    def _take(self, table: Table, change: IncidentChange, now: int) -> Iterator[Output]:
        incident = change.incident
        told = table.incident(incident.incident_id)
        opens = told is None
        if told is None:
            if incident.status == Status.RESOLVED:
                return
            told = Told(incident, since=now)
        elif incident.version <= told.incident.version:
            return
        told.incident, told.rules = incident, change.rule
        touched = groups.follow(table, told, now) if told.grouped else []
        self._register(table, told)
        if change.kind == MERGED:
            told.kept = told.kept or Skip.MERGED
            yield from self._change(table, told, Transition.RESOLVED, now)
        elif change.kind in _CHANGES:
            yield from self._change(table, told, Transition(change.kind), now)
        yield from self._watch(table, told, now, changed=True)
        if incident.status == Status.RESOLVED:
            effects.leave(table, told)
            effects.end(table, incident.incident_id)
            if self._settings.storms:
                tenant_storms.ended(table, incident, now)
            shifts.follow(table, told, None, self._settings.on_call, now)
            if not touched:
                table.forget(incident.incident_id)
                return
            # Its groups tell that it is over, in their time.
            table.keep(Told(incident, told.since, told.destinations, unheard=told.unheard, groups=told.groups))
            yield from self._flush(table, touched, now)
            return
        if change.announces:
            yield from self._reach(told, change, now)
        self._turn(table, told, change, now)
        if opens and self._settings.storms and self._would_be_told(told, now):
            tenant_storms.count(table, self._settings, told, now)
        yield from self._wait(table, told, now)
        yield from self._climb(told, now)
        table.keep(told)
        yield from self._flush(table, told.groups, now)

    def _flush(self, table: Table, keys: Sequence[bytes], now: int) -> Iterator[Output]:
        """Have these groups tell what they have to tell by now."""
        for key in list(keys):
            for told, transition, destination, related, more, skip in groups.flush(table, self._settings, key, now):
                if skip:
                    yield skipped(told.incident, transition, destination, skip, now)
                else:
                    yield from self._tell(told, transition, destination, now, related=related, more=more)

    def _register(self, table: Table, told: Told) -> None:
        """Have the incident count as a source of inhibitions, and as a possible cause, while it is open."""
        over = told.incident.status == Status.RESOLVED
        sources = [] if over else self._settings.inhibitions.as_source(told.incident)
        for key in set(sources) - set(told.sources):
            table.add_source(key, 1)
        for key in set(told.sources) - set(sources):
            table.add_source(key, -1)
        told.sources = sources
        if over:
            causes.withdraw(table, self._settings, told.incident)
        elif told.incident.urgency == "high":
            causes.register(table, self._settings, told.incident)

    def _change(self, table: Table, told: Told, transition: Transition, now: int) -> Iterator[Output]:
        """Tell a change to those who know of the incident; the others get a row that says why not."""
        if transition in _HANDLED:
            for destination in groups.owners(table, told):
                yield from self._tell(told, transition, destination, now)
        mute = self._settings.mutes.find(told.incident, now) if transition == Transition.ESCALATED else None
        for destination in told.destinations:
            if destination in told.waiting:
                if transition == Transition.RESOLVED:
                    yield skipped(told.incident, transition, destination, told.kept or Skip.NOT_TOLD, now)
            elif mute is not None:
                if destination not in told.risen:
                    told.risen.append(destination)
                yield skipped(told.incident, transition, destination, mute.name, now)
            else:
                yield from self._tell(told, transition, destination, now)

    def _reach(self, told: Told, change: IncidentChange, now: int) -> Iterator[Output]:
        """Add the destinations of one more alert."""
        incident, audience = told.incident, self._settings.audience
        named = audience.destinations(incident.tenant, incident.service, change.severity, change.routes)
        routed = any(leaf.destinations for leaf in self._settings.routes.match(incident))
        if routed and not change.routes:
            named = audience.own(incident.tenant, incident.service)
        new = [destination for destination in named if destination not in told.destinations]
        told.destinations += new
        told.waiting += new
        reached = named or routed or self._settings.escalation(incident) is not None
        if not reached and change.kind == Transition.TRIGGERED:
            reason = audience.nobody(incident.tenant, incident.severity)
            if reason is not None:
                yield skipped(incident, Transition.TRIGGERED, "", reason, now)

    def _would_be_told(self, told: Told, now: int) -> bool:
        """Whether somebody hears of the incident unless another one is told for it."""
        reached = told.waiting or told.ladder is not None or self._settings.routes.match(told.incident)
        return bool(reached) and self._settings.mutes.find(told.incident, now) is None

    def _wait(self, table: Table, told: Told, now: int) -> Iterator[Output]:
        """Tell those who wait that the incident is there, unless something keeps it from them."""
        leaves = [] if told.grouped else self._settings.routes.match(told.incident)
        if not (leaves or told.waiting or told.risen or (told.ladder is not None and told.ladder.next_at)):
            tenant_storms.leave(table, told)
            told.look_at, told.kept, told.muted_by = 0, "", b""
            return
        mute, instead = self._settings.mutes.find(told.incident, now), None
        if mute is None:
            kept, until = self._kept(table, told, now)
            if not (kept or until) and (self._settings.storms or tenant_storms.is_member(told)):
                instead = tenant_storms.keeper(table, self._settings, told, leaves, now)
            if instead is not None:
                kept = instead.reason
                tenant_storms.add(table, told, now)
                for destination in instead.missing:
                    note = tenant_storms.note(table, told.incident.tenant)
                    yield from self._page(instead.lead, destination, now, note=note)
                if instead.missing:
                    table.keep(instead.lead)
            else:
                told.muted_by = b""
        else:
            kept, until = mute.name, 0  # the list of the mute wakes it
            if told.muted_by != muted.list_name(told.incident.tenant, mute):
                told.muted_by = muted.add(table, told.incident.tenant, mute, told.incident.incident_id, now)
        told.look_at = told.quiet_until = min(until, now + RECHECK_MS) if until else 0
        if kept or until:
            if kept and kept != told.kept:
                if instead is None:
                    tenant_storms.leave(table, told)
                told.kept = kept
                if kept.startswith(causes.REASON):
                    effects.affect(table, told, told.parent, now)
                places = [*told.waiting, *(place for leaf in leaves for place in leaf.destinations)]
                for destination in dict.fromkeys([*places, *(instead.wanted if instead is not None else ())]):
                    yield skipped(told.incident, Transition.TRIGGERED, destination, kept, now)
            return
        note = self._stand_out(table, told, leaves, now)
        told.kept = ""
        groups.join(table, self._settings, told, leaves, now)
        waiting, told.waiting = told.waiting, []
        told.grouped = True
        if waiting or leaves:
            told.told_at = now
            if self._settings.storm_wait(told.incident):
                table.keep_page(now, told.incident.tenant, told.incident.service)
        for destination in waiting:
            yield from self._tell(told, Transition.TRIGGERED, destination, now, note=note)
        risen, told.risen = told.risen, []
        for destination in risen:
            yield from self._tell(told, Transition.ESCALATED, destination, now)

    def _stand_out(self, table: Table, told: Told, leaves: Sequence[Leaf], now: int) -> str:
        """The incident is told now: what people hear of the tenant's storm that it leads, if it does."""
        if not (self._settings.storms or tenant_storms.is_member(told)):
            return ""
        if told.waiting or leaves or (told.ladder is not None and 0 < escalation.due(told.ladder) <= now):
            if told.incident.tenant in self._settings.storms:
                table.keep_page(now, told.incident.tenant)
            note = tenant_storms.follow(table, self._settings, told, now)
            tenant_storms.leave(table, told)
            return note
        return ""

    def _lead(self, table: Table, found: Sequence[Told], now: int) -> Iterator[Output]:
        """Tell the first of these members of a storm that nothing else keeps from people: it leads the others."""
        for told in found:
            told.muted_by = b""
            yield from self._wait(table, told, now)
            yield from self._climb(told, now)
            table.keep(told)
            if not (told.kept or told.look_at):
                return

    def _kept(self, table: Table, told: Told, now: int) -> tuple[str, int]:
        """What keeps the incident from people, and until when; 0 for nothing. Without a name, it is only held."""
        held = 0
        for inhibit in self._settings.inhibitions.as_target(told.incident):
            if table.sources(inhibit.key):
                return f"inhibition/{inhibit.id}", now + RECHECK_MS
            if told.since + inhibit.hold_ms > now:
                held = max(held, told.since + inhibit.hold_ms)
        wait = self._settings.storm_wait(told.incident)
        if wait and told.since + wait > now and now - table.page(told.incident.tenant, told.incident.service) < wait:
            held = max(held, told.since + wait)  # somebody was paged for this service, and a storm may take this in
        if self._settings.storms:
            held = max(held, tenant_storms.held(table, self._settings, told, now))
        cause, until = causes.find(table, self._settings, told, now)
        if cause is None and told.parent:
            cause, until = causes.outlived(table, told, now)
        if cause is not None:
            told.parent, told.alone_at = cause, 0
            above = table.incident(cause)
            told.family = told.family or (above.family if above is not None else b"") or cause
            return f"{causes.REASON}{uuid_text(cause)}", now + RECHECK_MS
        return "", max(held, until if until > now else 0)

    def _news(self, table: Table, told: Told, cause: bytes, now: int) -> Iterator[Output]:
        """Tell those who know of a cause, or of the lead of a storm, what else is affected by now."""
        if told.waiting:  # it is not told itself yet
            effects.wait(table, cause, now)
            return
        related, more = effects.news(table, cause, now)
        if not related and not more:  # what was affected is over
            return
        storms = cause != told.incident.incident_id
        note = tenant_storms.note(table, told.incident.tenant) if storms else ""
        known = groups.places(table, self._settings, told, now) if storms else groups.owners(table, told)
        for destination in dict.fromkeys([*told.destinations, *known]):
            yield from self._tell(told, Transition.UPDATED, destination, now, note=note, related=related, more=more)
        table.keep(told)

    def _turn(self, table: Table, told: Told, change: IncidentChange, now: int) -> None:
        """Have the escalation follow the change."""
        incident, ladder = told.incident, told.ladder
        policy = self._settings.escalation(incident)
        shifts.follow(table, told, policy, self._settings.on_call, now)
        if policy is None:
            told.ladder = None
        elif ladder is None:
            if incident.status == Status.OPEN:
                told.ladder = escalation.start(incident.version, now)
        elif incident.status == Status.ACKNOWLEDGED and change.kind == Transition.ACKNOWLEDGED:
            told.ladder = escalation.acknowledged(policy, ladder, incident.version, change.actor, now)
        elif change.kind == Transition.UNACKNOWLEDGED:
            told.ladder = escalation.unacknowledged(ladder, incident.version, now)

    def _climb(self, told: Told, now: int) -> Iterator[Output]:
        """Page who is next, or remind who acknowledged."""
        incident = told.incident
        policy = self._settings.escalation(incident)
        if policy is None or told.ladder is None:
            told.ladder = None
            return
        while (
            not (told.waiting or told.muted_by) and now >= told.quiet_until and 0 < escalation.due(told.ladder) <= now
        ):
            fired = escalation.fire(policy, told.ladder, self._settings.on_call, incident.urgency, now)
            told.ladder = fired.ladder
            if fired.lapsed:
                yield self._lapse(told, now)
            if fired.nobody:
                yield skipped(incident, Transition.TRIGGERED, "", Skip.NOBODY_ON_CALL, now)
            for page in fired.pages:
                if page.destination not in told.destinations or told.told_at != now:
                    yield from self._page(told, page.destination, now)

    def _page(
        self,
        told: Told,
        destination: str,
        now: int,
        *,
        note: str = "",
        related: tuple[Related, ...] = (),
        more: int = 0,
    ) -> Iterator[Output]:
        """Tell one destination that the incident is open; from now on it hears what becomes of it."""
        transition = Transition.REMINDER
        if destination not in told.destinations:
            told.destinations.append(destination)
            transition = Transition.TRIGGERED
        elif destination in told.waiting:
            told.waiting.remove(destination)
            transition = Transition.TRIGGERED
        yield from self._tell(told, transition, destination, now, note=note, related=related, more=more)

    def _notify(self, table: Table, notice: Notice, now: int) -> Iterator[Output]:
        """Tell a user of open incidents in one message: the first is its own, the others are named in it."""
        on_call = self._settings.on_call
        found = [told for each in notice.incident_ids if (told := table.incident(each)) is not None]
        found = [told for told in found if told.incident.status != Status.RESOLVED]
        user = on_call.find(notice.tenant, notice.user)
        if not found or user is None:
            return
        told, *others = found
        related = tuple(effects.related(other.incident, Change.OPEN) for other in others[:MAX_RELATED])
        more = max(notice.total - 1 - len(related), 0)
        for destination in on_call.contacts(notice.tenant, user, told.incident.urgency):
            knows = all(destination in each.destinations and each.told_at >= notice.since for each in found)
            if not knows or notice.total > len(found):
                yield from self._page(told, destination, now, note=notice.note, related=related, more=more)
        table.keep(told)

    def _lapse(self, told: Told, now: int) -> Output:
        """The command that ends an acknowledgement which took too long."""
        incident = told.incident
        command = Command(
            command_id=digest("lapse", incident.incident_id.hex(), str(incident.version)),
            tenant=incident.tenant,
            incident_id=incident.incident_id,
            correlation_key=incident.correlation_key,
            action=CommandAction.UNACKNOWLEDGE,
            actor=ACTOR,
            at=now,
            note="acknowledged, and not resolved in time",
            acknowledged_at=incident.acknowledged_at,
        )
        headers = ((COMMAND_HEADER, b""),)
        return Output(ALERTS_UNIQUE.name, scope_of(incident.incident_id), encode(command), None, headers)

    def _watch(self, table: Table, told: Told, now: int, *, changed: bool = False) -> Iterator[Output]:
        """Tell of targets that are missed."""
        incident = told.incident
        targets = self._settings.targets(incident.tenant, incident.service)
        if told.sla is None and not (targets and changed):
            return
        mute = self._settings.mutes.find(incident, now)
        clocks = self._settings.clocks(incident.tenant, incident.service)
        if told.sla is None:
            told.sla = sla.start(targets, incident, clocks, now)
        elif changed:
            told.sla = sla.changed(told.sla, targets, incident, clocks, now)
        elif clocks is not self._settings.hours:  # maintenance may have been added, or ended early
            told.sla = sla.again(told.sla, targets, incident, clocks, now)
        looks = mute is not None and mute.kind == "maintenance" and not told.muted_by and sla.due(told.sla)
        told.targets_at = now + TARGETS_MS if looks else 0
        told.sla, breaches = sla.fire(told.sla, incident.incident_id, now)
        for destination in self._responsible(table, told, now) * len(breaches) if breaches else ():
            if mute is not None:
                yield skipped(incident, Transition.SLA_BREACH, destination, mute.name, now)
            else:
                yield from self._tell(told, Transition.SLA_BREACH, destination, now)

    def _responsible(self, table: Table, told: Told, now: int) -> list[str]:
        """Who knows of the incident; if nobody was told yet, who would be told of it."""
        known = [destination for destination in told.destinations if destination not in told.waiting]
        known += groups.owners(table, told)
        if not known:
            known += told.destinations
            known += [place for leaf in self._settings.routes.match(told.incident) for place in leaf.destinations]
            policy = self._settings.escalation(told.incident)
            if policy is not None and told.incident.status == Status.OPEN:
                known += escalation.first(policy, self._settings.on_call, told.incident.urgency, now)
        return list(dict.fromkeys(known))

    def _tell(
        self,
        told: Told,
        transition: Transition,
        destination: str,
        now: int,
        *,
        note: str = "",
        related: tuple[Related, ...] = (),
        more: int = 0,
    ) -> Iterator[Output]:
        incident = told.incident
        heard = destination not in told.unheard
        skip, mentions = self._settings.audience.call(incident, transition, destination, told.rules, heard, now)
        if skip is not None:
            if skip is Skip.QUIET_HOURS and transition == Transition.TRIGGERED:
                told.unheard.append(destination)
            yield skipped(incident, transition, destination, skip, now)
            return
        if not heard:
            told.unheard.remove(destination)
        if transition in TIMED:
            told.number += 1
        yield message(
            incident,
            transition,
            destination,
            now,
            mentions=mentions,
            number=told.number,
            note=note,
            related=related,
            more=more,
        )
