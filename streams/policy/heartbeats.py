"""Which alerts are beats of which monitors."""

from collections.abc import Callable, Iterable, Sequence

from schemas.control import Heartbeat
from schemas.wire.alert import Alert
from streams.policy.language import compile_alert


class Beats:
    """The monitors of every tenant that alerts can beat, compiled once; never changes."""

    def __init__(self, heartbeats: Iterable[Heartbeat]) -> None:
        self._by_tenant: dict[str, list[tuple[str, Callable[[Alert], bool]]]] = {}
        for heartbeat in sorted(heartbeats, key=lambda heartbeat: heartbeat.id):
            if not heartbeat.match:
                continue
            try:
                matches = compile_alert(heartbeat.match)
            except ValueError:
                # `stormweir apply` rejects it. Written by hand, it has no beats, so that people are told.
                continue
            self._by_tenant.setdefault(heartbeat.tenant, []).append((heartbeat.id, matches))

    def of(self, alert: Alert) -> Sequence[str]:
        """The ids of the monitors that the alert belongs to, whether they are enabled or not."""
        watching = self._by_tenant.get(alert.tenant)
        return () if watching is None else [name for name, matches in watching if matches(alert)]


def rule_of(heartbeats: Iterable[str]) -> str:
    """The `rule` in the row of an alert that is a beat of these monitors."""
    return ",".join(f"heartbeat:{name}" for name in heartbeats)
