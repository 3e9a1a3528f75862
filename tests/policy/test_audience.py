"""Who is told of a change and why others are not: the order in which reasons count."""

import pytest

from schemas.control import Notify, QuietHours, Rule, Service, Tenant
from schemas.wire.alert import Action, Alert, Severity
from schemas.wire.incident import Incident
from schemas.wire.notification import Transition
from streams.policy.audience import Audience, Skip
from streams.policy.incidents import open_incident

ALERT = Alert(
    tenant="default", service="web", integration="", provider="kafka", event_id=bytes(16), dedup_key="k",
    fingerprint=bytes(16), action=Action.TRIGGER, severity=Severity.ERROR, summary="s", source="host-1",
)  # fmt: skip
ALWAYS = QuietHours(zone="UTC", hours="00:00-24:00")
NIGHT = Rule(id="night", route=("chat",), quiet_hours=(ALWAYS,), mentions=("@here",))
LOUD = Rule(id="loud", route=("chat",), mentions=("@channel",))


def incident(severity: Severity = Severity.ERROR) -> Incident:
    """An incident of the service `web`."""
    return open_incident(ALERT, bytes(16), severity, {}, bytes(8))[0]


@pytest.mark.parametrize(
    ("service", "rules", "transition", "heard", "skip"),
    [
        (Service(id="web"), "", Transition.TRIGGERED, True, None),
        (Service(id="web"), "night", Transition.TRIGGERED, True, Skip.QUIET_HOURS),
        (Service(id="web"), "night,loud", Transition.TRIGGERED, True, None),
        (Service(id="web"), "night,deleted", Transition.TRIGGERED, True, Skip.QUIET_HOURS),
        (Service(id="web"), "deleted", Transition.TRIGGERED, True, None),
        (Service(id="web"), "loud", Transition.RESOLVED, False, Skip.NOT_TOLD),
        (Service(id="web"), "loud", Transition.ACKNOWLEDGED, False, Skip.NOT_TOLD),
        (Service(id="web"), "loud", Transition.ESCALATED, False, None),
        (Service(id="web"), "night", Transition.RESOLVED, False, Skip.NOT_TOLD),
        (Service(id="web", notify=Notify(resolved=False)), "night", Transition.RESOLVED, False, Skip.FLAG_OFF),
        (Service(id="web", notify=Notify(sla_breach=False)), "loud", Transition.TRIGGERED, True, None),
        (Service(id="web", destinations=("chat",)), "night", Transition.TRIGGERED, True, None),
        (Service(id="web", quiet_hours=(ALWAYS,)), "loud", Transition.TRIGGERED, True, Skip.QUIET_HOURS),
        (Service(id="db", quiet_hours=(ALWAYS,)), "loud", Transition.TRIGGERED, True, None),
        (Service(id="web", tenant="other", quiet_hours=(ALWAYS,)), "loud", Transition.TRIGGERED, True, None),
    ],
)
def test_the_first_reason_counts(
    service: Service, rules: str, transition: Transition, heard: bool, skip: Skip | None
) -> None:
    """Flag, then whether it was told, then the service's quiet hours, then those of all rules that route there."""
    audience = Audience((), (service,), (NIGHT, LOUD))
    assert audience.call(incident(), transition, "chat", rules, heard, 0).skip is skip
    assert audience.call(incident(Severity.CRITICAL), transition, "chat", "loud", True, 0).skip in (None, Skip.FLAG_OFF)


def test_mentions_are_those_of_the_rules_that_route_there() -> None:
    """In the order of the rules, each once; no others."""
    audience = Audience((), (), (NIGHT, LOUD))
    mentions = [
        audience.call(incident(Severity.CRITICAL), Transition.TRIGGERED, place, rules, True, 0).mentions
        for place, rules in (("chat", "night,loud"), ("chat", "loud"), ("mail", "loud"), ("chat", ""))
    ]
    assert mentions == [("@here", "@channel"), ("@channel",), (), ()]


def test_destinations_of_an_alert() -> None:
    """Rules' routes and the service's own; without either the tenant's default, which a service replaces."""
    tenant = Tenant(id="default", severity_routes={"critical": ("pager",), "info": ()})
    audience = Audience((tenant,), (Service(id="web", destinations=("chat", "ops")),), ())
    assert audience.destinations("default", "web", Severity.CRITICAL, ["ops"]) == ["ops", "chat"]
    assert audience.destinations("default", "web", Severity.CRITICAL, []) == ["chat", "ops"]
    assert audience.destinations("default", "db", Severity.CRITICAL, ["ops"]) == ["ops"]
    assert audience.destinations("default", "db", Severity.CRITICAL, []) == ["pager"]
    assert audience.destinations("default", "db", Severity.INFO, []) == []
    assert audience.destinations("other", "db", Severity.CRITICAL, []) == []
    assert audience.nobody("default", Severity.INFO) is Skip.SEVERITY_NOT_NOTIFIED
    assert audience.nobody("default", Severity.WARNING) is Skip.NO_DESTINATION
    assert audience.nobody("other", Severity.INFO) is None
