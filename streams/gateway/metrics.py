"""The gateway's metrics: plain counting on the hot path, Prometheus samples only when they are collected."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

#: Upper bounds in seconds; the slowest requests end with a flush's timeout of 4 s.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class GatewayMetrics(Collector):
    """Counts answers by type and code, rejections by reason, and durations. Used from one thread."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._rejected: Counter[str] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def answered(self, integration_type: str, code: int, reason: str, seconds: float) -> None:
        """Count one answer; `reason` is "" for an accepted request."""
        self._answers[integration_type, code] += 1
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        if reason:
            self._rejected[reason] += 1

    def collect(self) -> Iterator[Metric]:
        """The samples, for a registry."""
        requests = CounterMetricFamily(
            "stormweir_webhook_requests", "Answered requests", labels=["integration_type", "code"]
        )
        for (integration_type, code), count in list(self._answers.items()):
            requests.add_metric([integration_type, str(code)], count)
        yield requests
        rejected = CounterMetricFamily("stormweir_webhook_rejected", "Requests not accepted", labels=["reason"])
        for reason, count in list(self._rejected.items()):
            rejected.add_metric([reason], count)
        yield rejected
        duration = HistogramMetricFamily("stormweir_webhook_request_duration_seconds", "Time to the answer")
        total, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        duration.add_metric([], buckets, sum_value=self._seconds)
        yield duration
