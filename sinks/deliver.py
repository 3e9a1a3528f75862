"""The delivery of one notification: attempts, backoff and the longest wait for a broken destination.

Delivery is at least once, always under the notification's own id. Waiting notifications are only in memory: the
caller acknowledges a notification after its deliveries are written, and after a crash it is delivered again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from traceback import extract_tb

import structlog
from prometheus_client import Counter, Histogram

from schemas.control import Destination
from schemas.fingerprint import digest
from schemas.wire.notification import Delivery, Notification, Outcome
from sinks.breaker import CircuitBreaker, CircuitOpenError
from sinks.channels import CHANNELS, RenderError
from sinks.outbound import Outbound

RETRIES = 3
BACKOFF_S = 1.0
JITTER = 0.2
MAX_RETRY_AFTER_S = 60.0
PATIENCE_MS = 120_000

NOTIFICATIONS = Counter("stormweir_notifications_total", "Delivery attempts by how they ended.", ["channel", "outcome"])
ATTEMPT_SECONDS = Histogram(
    "stormweir_notification_attempt_duration_seconds",
    "Time of one delivery attempt, from sending to the answer.",
    ["channel"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
log = structlog.get_logger(__name__)
#: A destination by its tenant and id; None if it does not exist or no longer does.
Destinations = Callable[[str, str], Destination | None]


class Deliverer:
    """Delivers notifications to the destinations that `destinations` finds now; they may change at any time.

    `clock` gives milliseconds since 1970 UTC and never goes back, `sleep` waits seconds. Notifications may
    be delivered concurrently; the caller keeps those of one incident to one destination in order.
    """

    def __init__(
        self,
        destinations: Destinations,
        outbound: Outbound,
        base_url: str,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._destinations = destinations
        self._outbound = outbound
        self._base_url = base_url
        self._clock = clock
        self._sleep = sleep
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}

    async def deliver(self, notification: Notification) -> list[Delivery]:
        """Deliver, and return every attempt in order, at least one; all but the last have the outcome `retry`.

        If the last is `failed`, the caller writes a dead letter. `sent_at` 0 means that nothing was sent. The
        destination is looked up for each attempt, so a changed URL or a disabled destination takes effect at once.
        Raises only CancelledError: the breaker's slot is then released, and history does not get the attempts so far,
        although the receiver did. An exception in a channel is a failed delivery.
        """
        give_up_at = self._clock() + PATIENCE_MS
        deliveries: list[Delivery] = []
        while True:
            attempt = len(deliveries) + 1
            delivery = await self._attempt(notification, attempt, give_up_at)
            deliveries.append(delivery)
            NOTIFICATIONS.labels(delivery.channel, delivery.outcome).inc()
            if delivery.outcome is Outcome.RETRY:
                await self._sleep(backoff(notification.notification_id, attempt))
                continue
            if delivery.outcome is Outcome.FAILED:
                log.warning(
                    "notification failed",
                    notification=notification.notification_id.hex(),
                    destination=notification.destination,
                    attempts=attempt,
                    reason=delivery.error,
                    http_status=delivery.http_status,
                )
            return deliveries

    async def _attempt(self, notification: Notification, attempt: int, give_up_at: int) -> Delivery:
        key = notification.tenant, notification.destination
        ended = partial(self._delivery, notification, attempt)
        destination = self._destinations(*key)
        if destination is None or not destination.enabled:
            # Without this the table of breakers would outgrow the configuration.
            self._breakers.pop(key, None)
            if destination is None:
                return ended("", Outcome.SUPPRESSED, "unknown_destination")
            return ended(destination.type, Outcome.SUPPRESSED, "disabled_destination")
        channel = CHANNELS.get(destination.type)
        if channel is None:
            return ended(destination.type, Outcome.FAILED, "unknown_channel")
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = CircuitBreaker(self._clock, self._sleep)
        sent_at = 0
        try:
            async with breaker.request(give_up_at):
                now = self._clock()
                request = channel.render(notification, destination, self._base_url, now)
                sent_at = now
                with ATTEMPT_SECONDS.labels(channel.slug).time():
                    answer = await self._outbound.post(request.url, request.body, request.headers)
                outcome, reason = channel.classify(answer)
                if outcome is Outcome.RETRY and attempt > RETRIES:
                    outcome = Outcome.FAILED
                    breaker.delivery_failed()
                elif outcome is Outcome.RETRY:
                    breaker.attempt_failed()
                else:
                    # A rejection is an answer too: the destination is up, its settings are wrong.
                    breaker.succeeded()
                if answer.retry_after_s is not None and outcome is not Outcome.DELIVERED:
                    breaker.hold(min(answer.retry_after_s, MAX_RETRY_AFTER_S))
        except CircuitOpenError:
            return ended(channel.slug, Outcome.FAILED, "circuit_open")
        except RenderError as error:
            return ended(channel.slug, Outcome.FAILED, str(error))
        except Exception as error:
            # A defect of the channel. Only type and line are logged: the text may quote the notification or settings.
            kind, place = type(error).__name__, extract_tb(error.__traceback__)[-1]
            log.error("channel failed", channel=channel.slug, error=kind, file=place.filename, line=place.lineno)
            return ended(channel.slug, Outcome.FAILED, f"channel_error: {kind}", sent_at)
        return ended(channel.slug, outcome, reason, sent_at, answer.status)

    def _delivery(
        self,
        notification: Notification,
        attempt: int,
        channel: str,
        outcome: Outcome,
        error: str,
        sent_at: int = 0,
        http_status: int = 0,
    ) -> Delivery:
        return Delivery(
            tenant=notification.tenant,
            notification_id=notification.notification_id,
            incident_id=notification.incident.incident_id,
            channel=channel,
            destination=notification.destination,
            transition=notification.transition,
            attempt=attempt,
            queued_at=notification.queued_at,
            sent_at=sent_at,
            finished_at=self._clock(),
            outcome=outcome,
            http_status=http_status,
            error=error,
        )


def backoff(notification_id: bytes, attempt: int) -> float:
    """Seconds to wait after the failed `attempt` (1, 2, 3): 1, 2, 4, each up to 20 % less or more.

    The deviation is derived from the id, so that the retries of a storm spread out and tests can predict them.
    """
    drawn = int.from_bytes(digest(notification_id.hex(), str(attempt))[:4], "big") / 2**32
    return BACKOFF_S * 2.0 ** (attempt - 1) * (1 + JITTER * (2 * drawn - 1))
