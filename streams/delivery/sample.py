"""A test message to a destination, sent with what the notifier sends with."""

import time

from schemas.control import Destination
from schemas.settings import Settings
from sinks.mail import Mailer
from sinks.outbound import Outbound
from sinks.outbox.attempt import Sending
from sinks.outbox.limits import Limits
from sinks.outbox.settle import Attempt
from sinks.outbox.trial import try_out


async def send_sample(settings: Settings, destination: Destination) -> Attempt:
    """Send one message about a made-up incident, enabled or not, and return how that ended."""
    outbound = Outbound(settings.allowed_networks)
    mailer = Mailer(outbound, settings.allowed_networks)
    try:
        sending = Sending(outbound, mailer, Limits(), _clock)
        return await try_out(sending, destination, settings.public_url, _clock())
    finally:
        await mailer.close()
        await outbound.close()


def _clock() -> int:
    return time.time_ns() // 1_000_000
