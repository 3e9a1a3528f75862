"""`python -m benchmarks.rehearsal`: alerts a second of CPU through a line, and through a run of a replay.

Alerts are made before the clock starts. `repeats` are of 2,000 open keys; `openings` are all distinct and told to one
destination. A second figure is with 30 alerts a millisecond, which a line processes as one batch. Medians of three.
"""

import time
from collections.abc import Callable, Sequence

from benchmarks.process import median
from schemas.control import Destination, Service, control_key, dump
from schemas.fingerprint import fingerprint, uuid7
from schemas.wire.alert import Action, Alert, Severity
from schemas.wire.rows import AlertOutcome
from streams.control.state import Control
from streams.rehearsal.line import Line, Listener
from streams.rehearsal.recorded import Recorded
from streams.rehearsal.replay import Replay

ROUNDS = 3
ALERTS, KEYS = 200_000, 2_000
START = 1_750_000_000_000
NO_INCIDENT = bytes(16)


def main() -> None:
    """Measure and print."""
    control = Control()
    for record in (Destination(id="hook", type="webhook"), Service(id="web", destinations=("hook",))):
        control.apply(control_key(record), dump(record))
    for name, keys, count in (("repeats", KEYS, ALERTS), ("openings", ALERTS, ALERTS // 4)):
        for together in (1, 30):
            alerts = [_alert(number, number % keys, START + number // together) for number in range(count)]
            for what, feed in (("line", _line), ("replay", _replay)):
                rates = [_rate(feed, control, alerts) for _ in range(ROUNDS)]
                print(f"{what:<8}{name:<10}{together:>3} a ms  {median(rates):>10,.0f} alerts/s", flush=True)


def _rate(feed: Callable[[Control, Sequence[Alert]], None], control: Control, alerts: Sequence[Alert]) -> float:
    started = time.process_time()
    feed(control, alerts)
    return len(alerts) / (time.process_time() - started)


def _line(control: Control, alerts: Sequence[Alert]) -> None:
    line = Line(control, Listener())
    for alert in alerts:
        line.take(alert, alert.received_at)
    line.advance(line.now)


def _replay(control: Control, alerts: Sequence[Alert]) -> None:
    replay = Replay(control, START, ())
    for alert in alerts:
        replay.take(Recorded(alert, AlertOutcome.SUPPRESSED, NO_INCIDENT, ""))
    replay.finish(alerts[-1].received_at)


def _alert(number: int, key: int, at: int) -> Alert:
    name = f"disk/{key}"
    return Alert(
        tenant="default",
        service="web",
        integration="",
        provider="kafka",
        event_id=uuid7(at),
        dedup_key=name,
        fingerprint=fingerprint("default", "web", name),
        action=Action.TRIGGER,
        severity=Severity.ERROR,
        summary=f"Disk {key} is almost full",
        source="host-1",
        labels={"env": "prod"},
        received_at=at,
        origin_topic="alerts.events",
        origin_offset=number,
    )


if __name__ == "__main__":
    main()
