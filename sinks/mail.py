"""The only way out over SMTP: pooled connections, bounded in time and number, never into a private network.

A connection is made as sinks.outbound makes them: the guard checks the address that is really dialled. Without STARTTLS
or TLS only allowed networks are dialled. Formats: RFC 5321 (SMTP), 3207 (STARTTLS), 1870 (SIZE), 4954 (AUTH), XOAUTH2
(https://developers.google.com/workspace/gmail/imap/xoauth2-protocol).
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from email import policy
from ipaddress import ip_address
from socket import SOCK_STREAM, gaierror, socket
from typing import Literal

import msgspec
from aiohappyeyeballs import start_connection
from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from schemas.settings import IpNetwork
from sinks.contract import Mail, MailServer, Receipt
from sinks.oauth import AccessToken, TokenRefusedError
from sinks.outbound import Answer, BlockedTargetError, ErrorCode, Outbound, guard

#: For name resolution and connection; and for everything, the wait for a free connection included. Seconds.
CONNECT_S, TOTAL_S = 5.0, 30.0
#: Connections to one server at a time: Exchange Online takes three of one mailbox (its page of "sending limits").
CONNECTIONS = 3
#: After so many idle seconds a connection is closed: servers are not to be kept busy.
IDLE_S = 20.0
#: The part of a server's reply that is kept, characters.
_TEXT = 300
#: Every server takes lines that end with CRLF and hold ASCII alone.
_PLAIN = policy.SMTP.clone(cte_type="7bit")

Stage = Literal["greeting", "starttls", "oauth", "auth", "sender", "recipients", "data"]


class _StoppedError(Exception):
    """The mail cannot go on; `answer` is how it ended."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("stopped")
        self.answer = answer


class _Pool:
    """The connections to one server: those that are idle, each with the timer that closes it, and room for others."""

    def __init__(self, token: AccessToken) -> None:
        self.token = token
        self.room = asyncio.Semaphore(CONNECTIONS)
        self._idle: dict[SMTP, asyncio.TimerHandle] = {}

    async def take(self) -> SMTP | None:
        """An idle connection that still answers, ready for a new mail; None if there is none."""
        while self._idle:
            client, timer = self._idle.popitem()
            timer.cancel()
            try:
                await client.rset()
            except (SMTPException, OSError):
                client.close()
            except BaseException:
                client.close()
                raise
            else:
                return client
        return None

    def give_back(self, client: SMTP) -> None:
        """Keep the connection for the next mail, for a while."""
        self._idle[client] = asyncio.get_running_loop().call_later(IDLE_S, self._expire, client)

    def close(self) -> None:
        """Close what is idle."""
        for client, timer in list(self._idle.items()):
            timer.cancel()
            self._expire(client)

    def _expire(self, client: SMTP) -> None:
        del self._idle[client]
        with suppress(SMTPException, OSError):
            if client.protocol is not None:
                client.protocol.write(b"QUIT\r\n")
        client.close()


class Mailer:
    """Sends mails to public servers, and to any inside `allowed_networks`; `tls` says which certificates to trust."""

    def __init__(
        self,
        outbound: Outbound,
        allowed_networks: tuple[IpNetwork, ...],
        tls: ssl.SSLContext | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        self._allowed = allowed_networks
        self._tls = tls or ssl.create_default_context()
        self._total_s = total_s
        self._outbound = outbound
        #: One for each server that was ever used: as many as there were settings of destinations.
        self._pools: dict[MailServer, _Pool] = {}

    async def send(self, mail: Mail) -> Answer:
        """Send once; the result is how it ended. Raises only CancelledError.

        If the server accepted some of the recipients, the mail is sent to them and the status is 250.
        """
        try:
            async with asyncio.timeout(self._total_s):
                return await self._send(mail)
        except _StoppedError as stopped:
            return stopped.answer
        except (SMTPException, OSError, ValueError) as error:
            return Answer(0, error_code=_code(error))

    async def close(self) -> None:
        """Close every idle connection; a later mail opens new ones."""
        for pool in self._pools.values():
            pool.close()

    async def _send(self, mail: Mail) -> Answer:
        pool = self._pools.get(mail.server)
        if pool is None:
            pool = self._pools[mail.server] = _Pool(AccessToken(self._outbound, mail.server))
        async with pool.room:
            client = await pool.take() or await self._open(mail.server, pool.token)
            try:
                answer = await _transact(client, mail)
            except BaseException:
                client.close()
                raise
            if client.is_connected and answer.status != 421:
                pool.give_back(client)
            else:
                client.close()
            return answer

    async def _open(self, server: MailServer, token: AccessToken) -> SMTP:
        """A connection that is encrypted as the server's settings ask, and logged in."""
        connected = await self._dial(server)
        client = SMTP(
            hostname=server.host,
            sock=connected,
            use_tls=server.security == "tls",
            start_tls=False,
            tls_context=self._tls,
            timeout=self._total_s,
            local_hostname=_own_name(connected),
        )
        stage: Stage = "greeting"
        try:
            await client.connect()
            await client.ehlo()
            if server.security == "starttls":
                stage = "starttls"
                if not client.supports_extension("starttls"):
                    raise _stopped(stage, 0, "not offered")
                await client.starttls()
                await client.ehlo()
            if server.username:
                stage = "auth"
                await _log_in(client, server, token)
        except SMTPResponseException as refusal:
            client.close()
            if refusal.code < 200:
                raise  # not a reply of SMTP
            raise _stopped(stage, refusal.code, refusal.message) from refusal
        except BaseException:
            client.close()
            raise
        return client

    async def _dial(self, server: MailServer) -> socket:
        try:
            async with asyncio.timeout(CONNECT_S):
                loop = asyncio.get_running_loop()
                addresses = await loop.getaddrinfo(server.host, server.port, type=SOCK_STREAM)
                return await start_connection(
                    addresses,
                    happy_eyeballs_delay=0.25,
                    interleave=1,
                    socket_factory=guard(self._allowed, public=server.security != "none"),
                )
        except OSError as error:
            match error:
                case BlockedTargetError():
                    code = ErrorCode.BLOCKED_TARGET
                case TimeoutError():
                    code = ErrorCode.TIMEOUT
                case gaierror():
                    code = ErrorCode.DNS
                case _:
                    code = ErrorCode.REFUSED
            raise _StoppedError(Answer(0, error_code=code)) from error


async def _log_in(client: SMTP, server: MailServer, token: AccessToken) -> None:
    # One method, once: each refused login counts towards what locks an account.
    methods = client.server_auth_methods
    if server.oauth_token_url:
        if "xoauth2" not in methods:
            raise _stopped("auth", 0, "XOAUTH2 not offered")
        try:
            await client.auth_xoauth2(server.username, await token.current())
        except TokenRefusedError as refused:
            if refused.answer.error_code is not None:
                raise _StoppedError(Answer(0, error_code=refused.answer.error_code)) from refused
            raise _stopped("oauth", refused.answer.status, "") from refused
        except SMTPAuthenticationError:
            token.forget()
            raise
    elif "plain" in methods:
        await client.auth_plain(server.username, server.password)
    elif "login" in methods:
        await client.auth_login(server.username, server.password)
    else:
        raise _stopped("auth", 0, "neither PLAIN nor LOGIN offered")


async def _transact(client: SMTP, mail: Mail) -> Answer:
    """One mail over an open connection."""
    content = mail.message.as_bytes(policy=_PLAIN)
    try:
        size = [f"SIZE={len(content)}"] if client.supports_extension("size") else []
        await client.mail(mail.sender, options=size)
    except SMTPSenderRefused as refusal:
        return _answer("sender", refusal.code, refusal.message)
    replies: dict[str, tuple[int, str]] = {}
    for recipient in mail.recipients:
        try:
            reply = await client.rcpt(recipient)
            replies[recipient] = reply.code, ""
        except SMTPRecipientRefused as refusal:
            replies[recipient] = refusal.code, _ascii(refusal.message)
    if all(code >= 300 for code, _ in replies.values()):
        code, text = min(replies.values())
        return _answer("recipients", code, text, replies)
    try:
        done = await client.data(content)
    except SMTPDataError as refusal:
        return _answer("data", refusal.code, refusal.message)
    return _answer("data", done.code, done.message, replies)


def _answer(stage: Stage, code: int, text: str, recipients: Mapping[str, tuple[int, str]] | None = None) -> Answer:
    return Answer(code, body=msgspec.json.encode(Receipt(stage, _ascii(text), dict(recipients or {}))))


def _stopped(stage: Stage, code: int, text: str) -> _StoppedError:
    return _StoppedError(_answer(stage, code, text))


def _ascii(text: str) -> str:
    return text[:_TEXT].encode("ascii", "replace").decode()


def _own_name(connected: socket) -> str:
    """The name for EHLO: an address literal (RFC 5321, 4.1.3), since a container has no name that others know."""
    address = ip_address(connected.getsockname()[0])
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def _code(error: Exception) -> ErrorCode:
    # aiosmtplib wraps errors of the TLS handshake of a connection. A certificate error is also a ValueError.
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return ErrorCode.TLS
    if isinstance(error, TimeoutError):
        return ErrorCode.TIMEOUT
    return ErrorCode.INVALID_REQUEST if isinstance(error, ValueError) else ErrorCode.RESET
