"""What the notifier counts. A destination is a label: there are as many as the configuration has."""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter("stormweir_notifications_total", "Delivery attempts by how they ended.", ["channel", "outcome"])
ATTEMPT_SECONDS = Histogram(
    "stormweir_notification_attempt_duration_seconds",
    "Time of one delivery attempt, from sending to the answer.",
    ["channel"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
_WAITING = Gauge("stormweir_notifications_waiting", "Incidents that wait to be told.", ["tenant", "destination"])
_SINCE = Gauge(
    "stormweir_notifications_waiting_since_seconds",
    "When about the oldest waiting notification was queued, Unix time; 0 if none waits.",
    ["tenant", "destination"],
)


def waiting(name: tuple[str, str], count: int, oldest_ms: int) -> None:
    """Note how much waits for a destination (tenant and id)."""
    _WAITING.labels(*name).set(count)
    _SINCE.labels(*name).set(oldest_ms / 1000)


def forget(name: tuple[str, str]) -> None:
    """This process no longer delivers to the destination."""
    for gauge in (_WAITING, _SINCE):
        if name in gauge._metrics:
            gauge.remove(*name)
