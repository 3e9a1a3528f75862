"""The messages of dispatch, and the reasons why it sends none, in words."""

from collections.abc import Mapping

from schemas.wire.notification import Transition
from streams.policy.audience import Skip

#: What a message says of an incident.
MESSAGES: Mapping[Transition, str] = {
    Transition.TRIGGERED: "it opened",
    Transition.ESCALATED: "it got more severe",
    Transition.ACKNOWLEDGED: "it was acknowledged",
    Transition.UNACKNOWLEDGED: "it is not acknowledged any more",
    Transition.RESOLVED: "it is resolved",
    Transition.REMINDER: "it is still open",
    Transition.SLA_BREACH: "it was not handled in time",
    Transition.UPDATED: "related incidents changed",
}
#: Why somebody is not told of an incident, or ("") nobody is.
SENTENCES: Mapping[Skip, str] = {
    Skip.FLAG_OFF: "`notify` of the service turns messages of this kind off",
    Skip.NOT_TOLD: "it was not told that the incident is there, so it does not hear what became of it",
    Skip.QUIET_HOURS: "it has quiet hours, of the service or of the rule that routes to it",
    Skip.SEVERITY_NOT_NOTIFIED: "nothing routes the alert, and `severity_routes` has no destination for its severity",
    Skip.NO_DESTINATION: "nothing routes the alert, and `severity_routes` does not list its severity",
    Skip.NOBODY_ON_CALL: "nobody is on call in the schedules of this step of the escalation policy",
    Skip.MERGED: "the incident ended in another one",
}
#: By the part of a reason before its slash; after it comes the id of the record.
RECORDS: Mapping[str, str] = {
    "silence": "the silence {} mutes the incident",
    "maintenance": "the maintenance {} mutes the service",
    "inhibition": "the inhibition {} holds, because its source is open",
    "calendar": "the route's calendar {} mutes it",
    "cause": "the incident {}, which is open, is its cause",
    "storm": "the incident {} is told for it, in a storm of the tenant or for what is left of one",
}


def sentence(reason: str) -> str | None:
    """What a reason of dispatch means, None for one that is not dispatch's.

    >>> sentence("silence/new-switch")
    'the silence new-switch mutes the incident'
    """
    kind, slash, name = reason.partition("/")
    if slash and kind in RECORDS:
        return RECORDS[kind].format(name)
    return SENTENCES[Skip(reason)] if reason in SENTENCES else None
