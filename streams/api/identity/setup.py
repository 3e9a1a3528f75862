"""Links by which somebody sets a password: of an invitation, or of a tenant's first owner."""

import time

from schemas.control import DEFAULT_TENANT
from schemas.settings import Settings
from schemas.topics import CONSOLE
from schemas.wire.codec import encode
from schemas.wire.console import SetupLink
from streams.control.accounts import INVITED, accounts_of, hash_of, new_secret_token
from streams.control.state import Control
from streams.process.kafka import Kafka


def link_of(settings: Settings, token: str) -> str:
    """The address of the console's page that takes this token. What is behind # is sent to no server."""
    return f"{settings.console_address}/#/setup?token={token}"


async def first_owner_link(settings: Settings, control: Control) -> str | None:
    """A new link that makes the first owner, once; None if there is an account already. Raises aiokafka's errors."""
    if accounts_of(control, DEFAULT_TENANT):
        return None
    token = new_secret_token("swi")
    link = SetupLink(tenant=DEFAULT_TENANT, expires_at=int((time.time() + INVITED.total_seconds()) * 1000))
    kafka = Kafka.of(settings)
    producer = kafka.producer()
    await producer.start()
    try:
        await producer.send_and_wait(
            kafka.name(CONSOLE.name), encode(link), key=f"setup/{hash_of(token)}".encode(), partition=0
        )
    finally:
        await producer.stop()
    return link_of(settings, token)
