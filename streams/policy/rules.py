"""Alert rules: what they decide on an alert (conditions: streams.policy.language; which are tried: rule_index).

Rules are tried by `order`, then by id. Each that matches is applied: of severity, urgency, service and correlation key
the last one counts, labels, routes and the settings of `life` add up. After a rule with `stop` or `drop` no other is
tried.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.control import Lookup, Rule
from schemas.control.life import Life
from schemas.wire.alert import Alert, RuledUrgency, Severity
from streams.policy.language import NO_CALENDARS, Calendars, Node, compile_node, field, parse
from streams.policy.language import calendars as named_calendars
from streams.policy.life import NO_LIFE, merged
from streams.policy.rule_index import Demand, RuleIndex, demands


class Decision(NamedTuple):
    """The decision of the rules on an alert; `rules` are the ids of those that matched, in order.

    `labels` are added, `routes` are destinations; urgency and service are "", `group_by` is empty if no rule sets them.
    """

    severity: Severity
    suppress: bool
    labels: dict[str, str]
    routes: tuple[str, ...]
    rules: tuple[str, ...]
    urgency: RuledUrgency = ""
    service: str = ""
    group_by: tuple[str, ...] = ()
    life: Life = NO_LIFE


class _Table(NamedTuple):
    """A lookup table: the getter of its field, and the labels by the field's value."""

    key: Callable[[Alert], str]
    rows: Mapping[str, Mapping[str, str]]


class _Effects(NamedTuple):
    """What a rule does, beside each other in memory: a record's fields are far apart. "" and None change nothing."""

    id: str
    drop: bool
    suppress: bool
    stop: bool
    severity: Severity | None
    urgency: RuledUrgency
    service: str
    group_by: tuple[str, ...]
    enrich: tuple[str, ...]
    labels: dict[str, str]
    route: dict[str, None]
    life: Life | None


class _Compiled(NamedTuple):
    """A rule, ready to be tried."""

    rule: Rule
    condition: Node
    demands: Sequence[Demand]
    matches: Callable[[Alert], bool]
    effects: _Effects


class _Tenant:
    """The rules of one tenant in their order."""

    def __init__(self, rules: list[_Compiled], tables: Mapping[str, _Table]) -> None:
        rules.sort(key=lambda each: (each.rule.order, each.rule.id))
        self._index = RuleIndex([each.demands for each in rules])
        self._tried = [(each.matches, each.effects) for each in rules]
        self._tables = tables

    def decide(self, alert: Alert) -> Decision:
        severity, suppress, service, life = alert.severity, False, "", NO_LIFE
        urgency: RuledUrgency = ""
        group_by: tuple[str, ...] = ()
        labels: dict[str, str] = {}
        routes: dict[str, None] = {}
        matched: list[str] = []
        for place in self._index.find(alert):
            matches, effects = self._tried[place]
            if not matches(alert):
                continue
            rule, drop, suppresses, stop, sets, urgent, moves, groups, enrich, adds, route, lives = effects
            if drop:
                return Decision(alert.severity, True, {}, (), (rule,))
            matched.append(rule)
            severity = sets or severity
            suppress = suppress or suppresses
            urgency = urgent or urgency
            service = moves or service
            group_by = groups or group_by
            for name in enrich:
                self._enrich(name, alert, labels)
            if adds:
                labels.update(adds)
            if route:
                routes.update(route)
            if lives is not None:
                life = merged(lives, life)
            if stop:
                break
        return Decision(severity, suppress, labels, tuple(routes), tuple(matched), urgency, service, group_by, life)

    def _enrich(self, name: str, alert: Alert, labels: dict[str, str]) -> None:
        table = self._tables.get(name)
        if table is not None:
            labels.update(table.rows.get(table.key(alert), {}))


class RuleSet:
    """The rules of every tenant, compiled once; a RuleSet never changes.

    Raises ValueError that names the rule if a condition cannot be read. Rules of the set `before` that are still the
    same objects are not compiled again.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        lookups: Iterable[Lookup] = (),
        calendars: Calendars = NO_CALENDARS,
        before: "RuleSet | None" = None,
    ) -> None:
        self._made_of = tuple(rules), tuple(lookups), calendars
        rules, lookups, _ = self._made_of
        self._compiled: dict[tuple[str, str], _Compiled] = {}
        for rule in rules:
            compiled = before._compiled.get((rule.tenant, rule.id)) if before is not None else None
            if compiled is None or compiled.rule is not rule or named_calendars(compiled.condition):
                compiled = _compiled(rule, calendars)
            self._compiled[rule.tenant, rule.id] = compiled
        by_tenant: dict[str, list[_Compiled]] = {}
        for each in self._compiled.values():
            by_tenant.setdefault(each.rule.tenant, []).append(each)
        tables: dict[str, dict[str, _Table]] = {}
        for lookup in lookups:
            tables.setdefault(lookup.tenant, {})[lookup.id] = _Table(field(lookup.key), lookup.rows)
        self._by_tenant = {tenant: _Tenant(each, tables.get(tenant, {})) for tenant, each in by_tenant.items()}

    def followed_by(
        self, rules: Iterable[Rule], lookups: Iterable[Lookup], calendars: Calendars = NO_CALENDARS
    ) -> "RuleSet":
        """The next set: this one if it is the same, or has a rule that is not valid (`apply` refuses such a rule, and
        a process does not take it from the topic).
        """
        made_of = tuple(rules), tuple(lookups), calendars
        if made_of == self._made_of:
            return self
        try:
            return RuleSet(*made_of, before=self)
        except ValueError:
            return self

    def decide(self, alert: Alert) -> Decision:
        """What the rules of the alert's tenant decide."""
        tenant = self._by_tenant.get(alert.tenant)
        if tenant is None:
            return Decision(alert.severity, False, {}, (), ())
        return tenant.decide(alert)


def _compiled(rule: Rule, calendars: Calendars) -> _Compiled:
    try:
        condition = parse(rule.conditions)
    except ValueError as error:
        raise ValueError(f"rule {rule.id}: {error}") from None
    effects = _Effects(
        id=rule.id,
        drop=rule.drop,
        suppress=rule.suppress,
        stop=rule.stop,
        severity=Severity[rule.severity.upper()] if rule.severity is not None else None,
        urgency=rule.urgency or "",
        service=rule.service or "",
        group_by=rule.group_by,
        enrich=rule.enrich,
        labels=rule.labels,
        route=dict.fromkeys(rule.route),
        life=rule.life if rule.life != NO_LIFE else None,
    )
    return _Compiled(rule, condition, demands(condition), compile_node(condition, calendars), effects)
