"""Access tokens for mail servers, by OAuth 2.0 (RFC 6749, sections 4.4 and 6)."""

import asyncio
from time import monotonic
from urllib.parse import urlencode

import msgspec

from sinks.contract import MailServer
from sinks.outbound import Answer, Outbound

#: A token is not used in the last seconds of its life.
_MARGIN_S = 60


class TokenRefusedError(Exception):
    """The token endpoint gave no token; `answer` is what it gave."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("no access token")
        self.answer = answer


class _Granted(msgspec.Struct):
    """The part of a token response that is used (RFC 6749, section 5.1)."""

    access_token: str
    expires_in: int = 0


class AccessToken:
    """The token for one mail server: fetched through the guarded client, kept until shortly before it expires."""

    def __init__(self, outbound: Outbound, server: MailServer) -> None:
        self._outbound = outbound
        self._server = server
        self._token = ""
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> str:
        """A token that is valid. Raises TokenRefusedError."""
        async with self._lock:
            if not self._token or monotonic() >= self._until:
                granted = await self._fetch()
                self._token, self._until = granted.access_token, monotonic() + granted.expires_in - _MARGIN_S
            return self._token

    def forget(self) -> None:
        """The mail server did not take the token: the next one is a new one."""
        self._token = ""

    async def _fetch(self) -> _Granted:
        server = self._server
        form = {"grant_type": "client_credentials", "client_id": server.oauth_client_id}
        if server.password:
            form |= {"grant_type": "refresh_token", "refresh_token": server.password}
        if server.oauth_client_secret:
            form["client_secret"] = server.oauth_client_secret
        if server.oauth_scope:
            form["scope"] = server.oauth_scope
        answer = await self._outbound.post(
            server.oauth_token_url,
            urlencode(form).encode(),
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        )
        if answer.status != 200:
            raise TokenRefusedError(answer)
        try:
            return msgspec.json.decode(answer.body, type=_Granted)
        except msgspec.DecodeError:
            raise TokenRefusedError(answer) from None
