"""Where people look at a running stack."""

from aiokafka.errors import KafkaError

from schemas.settings import Settings
from streams.api.identity.setup import first_owner_link
from streams.api.static import is_built
from streams.control.follow import read
from streams.control.secrets import SecretKeys
from streams.process.kafka import Kafka


async def where_to_look(settings: Settings) -> str:
    """A line with the console's address, or a link to make the first account; each call makes a link of its own."""
    if not is_built():
        return f"the console is not built (`make console` needs Node): the API is at {settings.console_address}/api/v1"
    try:
        control = await read(Kafka.of(settings), SecretKeys.of(settings))
        link = await first_owner_link(settings, control)
    except (KafkaError, OSError):
        return "Kafka does not answer now: `stormweir accounts invite` makes an account once it does"
    if link:
        return f"look at it: make the first account at {link}"
    return f"look at it: {settings.console_address}"
