"""Access tokens for SASL/OAUTHBEARER by OAuth 2.0's client credentials (RFC 6749, section 4.4)."""

import time
from collections.abc import Callable

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import AuthenticationFailedError

from schemas.kafka import KafkaProperties

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MAX_ANSWER = 64 * 1024
#: A token is not used in the last fifth of its lifetime, or in the last minute if that is shorter.
_RENEW_SHARE = 0.2
_RENEW_S = 60.0


class _Answer(msgspec.Struct):
    """https://www.rfc-editor.org/rfc/rfc6749#section-5.1; `expires_in` in seconds, 0 if it is missing."""

    access_token: str
    expires_in: float = 0.0


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Fetches tokens from the endpoint of the properties, and keeps one until shortly before it expires.

    It works in any event loop, since it keeps nothing of a request. Two concurrent calls may both fetch a token.
    """

    def __init__(self, properties: Callable[[], KafkaProperties], clock: Callable[[], float] = time.monotonic) -> None:
        self._properties = properties
        self._clock = clock
        #: The client of the token (id and secret), the token, and until when it is used.
        self._held: tuple[tuple[str, str], str, float] | None = None

    async def token(self) -> str:
        """A token that is valid now. Raises AuthenticationFailedError that says why there is none."""
        properties = self._properties()
        client = (properties.sasl_oauthbearer_client_id, properties.sasl_oauthbearer_client_secret)
        held = self._held
        if held is not None and held[0] == client and self._clock() < held[2]:
            return held[1]
        asked = self._clock()
        answer = await _fetch(properties)
        self._held = (
            client,
            answer.access_token,
            asked + max(answer.expires_in * (1 - _RENEW_SHARE), answer.expires_in - _RENEW_S),
        )
        return answer.access_token


async def _fetch(properties: KafkaProperties) -> _Answer:
    form = {"grant_type": "client_credentials"}
    if properties.sasl_oauthbearer_scope:
        form["scope"] = properties.sasl_oauthbearer_scope
    headers = {
        "Accept": "application/json",
        "Authorization": aiohttp.encode_basic_auth(
            properties.sasl_oauthbearer_client_id, properties.sasl_oauthbearer_client_secret, encoding="utf-8"
        ),
    }
    url = properties.sasl_oauthbearer_token_endpoint_url
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.post(url, data=form, headers=headers, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(_MAX_ANSWER)
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise AuthenticationFailedError(f"the token endpoint does not answer: {type(error).__name__}") from None
    if status != 200:
        raise AuthenticationFailedError(f"the token endpoint answers {status}")
    try:
        return msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        raise AuthenticationFailedError("the token endpoint's answer holds no access_token") from None
