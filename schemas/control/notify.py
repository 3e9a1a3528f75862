"""Which changes of a service's incidents are told."""

from schemas.control.record import Record


class Notify(Record):
    """A flag for each change; `triggered` is also for a rise in severity.

    `sla_breach` is kept for the targets of times to acknowledge and to resolve, which do not exist yet.
    """

    triggered: bool = True
    acknowledged: bool = True
    resolved: bool = True
    sla_breach: bool = True
