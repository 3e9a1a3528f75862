"""Changes to destinations: the records that a change would write. Pure, as streams.control.edits."""

from typing import NamedTuple

from schemas.control import AnyRecord, Destination, Rule, control_key
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change


class Uses(NamedTuple):
    """What names a destination: rules in their `route`, and destinations as their `fallback`."""

    rules: list[Rule]
    fallbacks: list[Destination]


def find_destination(control: Control, tenant: str, name: str) -> Destination:
    """The destination of this id. Raises FieldError."""
    found = control.destination(tenant, name)
    if found is None:
        raise FieldError("destination", f"the tenant {tenant} has no {name!r}; `stormweir destinations list` shows all")
    return found


def uses(control: Control, destination: Destination) -> Uses:
    """What names this destination, by order and id."""
    tenant, name = destination.tenant, destination.id
    rules = [rule for rule in control.rules.values() if rule.tenant == tenant and name in rule.route]
    fallbacks = [each for each in control.destinations.values() if each.tenant == tenant and each.fallback == name]
    return Uses(sorted(rules, key=lambda rule: (rule.order, rule.id)), sorted(fallbacks, key=lambda other: other.id))


def without(control: Control, destination: Destination) -> Change:
    """The destination is deleted, and nothing names it any more."""
    found = uses(control, destination)
    records: list[AnyRecord] = [
        rule.model_copy(update={"route": tuple(name for name in rule.route if name != destination.id)})
        for rule in found.rules
    ]
    records += [other.model_copy(update={"fallback": None}) for other in found.fallbacks if other != destination]
    return Change(records, [control_key(destination)])
