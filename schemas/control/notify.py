"""Which changes of a service's incidents are told."""

from schemas.control.record import Record


class Notify(Record):
    """A flag for each change. `triggered` is also for a rise in severity and for reminders, `acknowledged` also for its
    end, and `sla_breach` for a missed target of the time to acknowledge or to resolve.
    """

    triggered: bool = True
    acknowledged: bool = True
    resolved: bool = True
    sla_breach: bool = True
