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


class AccessTokens:
    """Fetches tokens through the guarded client, and keeps each until shortly before it expires."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        #: By server: the token, and the end of its use on the monotonic clock.
        self._known: dict[MailServer, tuple[str, float]] = {}
        self._lock = asyncio.Lock()

    async def token(self, server: MailServer) -> str:
        """A token for this server. Raises TokenRefusedError."""
        async with self._lock:
            self._known = {known: kept for known, kept in self._known.items() if kept[1] > monotonic()}
            if server not in self._known:
                granted = await self._fetch(server)
                self._known[server] = granted.access_token, monotonic() + granted.expires_in - _MARGIN_S
            return self._known[server][0]

    def forget(self, server: MailServer) -> None:
        """The mail server did not take the token: the next one is a new one."""
        self._known.pop(server, None)

    async def _fetch(self, server: MailServer) -> _Granted:
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
