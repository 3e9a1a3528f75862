"""Access tokens by client credentials."""

from collections.abc import Iterator

import pytest
from aiokafka.errors import AuthenticationFailedError

from schemas.kafka import KafkaProperties
from streams.process.oauth import ClientCredentials
from tests.kafka.tokens import TokenServer


@pytest.fixture
def server() -> Iterator[TokenServer]:
    """A token endpoint."""
    with TokenServer("right") as server:
        yield server


class Client:
    """A provider whose time and properties are the test's."""

    def __init__(self, server: TokenServer, secret: str = "right") -> None:
        self.now = 0.0
        self.properties = KafkaProperties(
            sasl_oauthbearer_client_id="me and myself",
            sasl_oauthbearer_client_secret=secret,
            sasl_oauthbearer_token_endpoint_url=server.url,
            sasl_oauthbearer_scope="kafka write",
        )
        self.provider = ClientCredentials(lambda: self.properties, lambda: self.now)


async def test_a_token_is_kept_until_shortly_before_it_expires(server: TokenServer) -> None:
    """One request serves every connection until the last minute of the token."""
    client = Client(server)
    server.lifetime = 600
    first = await client.provider.token()
    client.now = 539.0
    assert await client.provider.token() == first
    client.now = 541.0
    await client.provider.token()
    assert len(server.asked) == 2
    assert server.asked[0]["scope"] == "kafka write"


async def test_a_short_token_is_kept_for_most_of_its_life(server: TokenServer) -> None:
    """A token of 10 seconds is used for 8."""
    client = Client(server)
    server.lifetime = 10
    for client.now in (0.0, 7.9, 8.1):
        await client.provider.token()
    assert len(server.asked) == 2


async def test_a_new_secret_is_used_at_once(server: TokenServer) -> None:
    """A token that was got with another secret is not used any more."""
    client = Client(server)
    await client.provider.token()
    client.properties = Client(server, "wrong").properties
    with pytest.raises(AuthenticationFailedError, match="answers 401"):
        await client.provider.token()


@pytest.mark.parametrize(("status", "reason"), [(500, "answers 500"), (302, "answers 302")])
async def test_a_refusal_says_why(server: TokenServer, status: int, reason: str) -> None:
    """An error and a redirection are reasons without secrets; a redirection is not followed."""
    server.status = status
    with pytest.raises(AuthenticationFailedError, match=reason) as refused:
        await Client(server).provider.token()
    assert "right" not in str(refused.value)


async def test_an_endpoint_that_is_away(server: TokenServer) -> None:
    """Nobody listens: an error of Kafka's, so that clients try again."""
    with TokenServer("right") as gone:
        client = Client(gone)
    with pytest.raises(AuthenticationFailedError, match="does not answer"):
        await client.provider.token()
