"""A real SMTP server (aiosmtpd) that refuses what mail servers refuse, and keeps what it took.

The codes and words are those of the servers named beside them; nothing here knows how Stormweir writes mails.
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

#: RFC 3207, section 4, in aiosmtpd's words.
NO_STARTTLS = "530 Must issue a STARTTLS command first"
#: Gmail and others.
WRONG_PASSWORD = "535 5.7.8 Username and Password not accepted"
#: Exchange Online since basic authentication is off (techcommunity.microsoft.com, 2026-01-27).
NO_BASIC = "550 5.7.30 Basic authentication is not supported for Client Submission"
#: Postgrey, by its default text.
GREYLISTED = "450 4.2.0 Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/"
PUT_OFF = "451 4.7.1 Please try again later"
UNKNOWN = "550 5.1.1 The email account that you tried to reach does not exist"
SHUTTING_DOWN = "421 4.3.2 Service shutting down"
#: Takes the mail, and breaks the connection before it says so.
DROP = "drop"

TOKEN = "ya29.fresh"


@dataclass
class Taken:
    """A mail that the server has: what people behind it see, also if the sender never heard so."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def mail(self) -> EmailMessage:
        """As the standard library reads it."""
        return message_from_bytes(self.content, policy=policy.default)


@dataclass
class PostOffice:
    """The server: `port` on 127.0.0.1. Replies in lists are used up in order; then all is well.

    `on_recipient` has the replies for an address, `on_data` those after a mail's content, `on_login` those to logins;
    `never` are addresses that do not exist. `login` is username and password, `token` what XOAUTH2 must present.
    """

    port: int = 0
    login: tuple[str, str] | None = None
    token: str | None = None
    never: frozenset[str] = frozenset()
    on_recipient: dict[str, list[str]] = field(default_factory=dict)
    on_sender: list[str] = field(default_factory=list)
    on_data: list[str] = field(default_factory=list)
    on_login: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    #: Connections ever made, those open now, and logins tried.
    connections: int = 0
    open: int = 0
    most_open: int = 0
    logins: int = 0
    #: Commands seen in the clear, upper case.
    in_the_clear: list[str] = field(default_factory=list)
    #: Mails, and the next use of a connection, wait here for their answer, when it is set.
    gate: asyncio.Event | None = None
    _clients: set[asyncio.BaseTransport] = field(default_factory=set)

    def drop_all(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for transport in self._clients:
            transport.close()

    def seen_by(self, recipient: str) -> list[EmailMessage]:
        """What lies in a mailbox, in order."""
        return [taken.mail for taken in self.taken if recipient in taken.recipients]

    # -- aiosmtpd's hooks

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (self.login or self.token) and not session.authenticated:
            return "530 5.7.1 Authentication required"
        if self.on_sender:
            return self.on_sender.pop(0)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.never:
            return UNKNOWN
        if replies := self.on_recipient.get(address):
            return replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.gate is not None:
            await self.gate.wait()
        return "250 2.0.0 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.gate is not None:
            await self.gate.wait()
        reply = self.on_data.pop(0) if self.on_data else "250 2.0.0 OK queued"
        if reply == DROP or reply.startswith("2"):
            content = envelope.content
            assert isinstance(content, bytes)
            self.taken.append(Taken(envelope.mail_from or "", list(envelope.rcpt_tos), content))
        if reply in {DROP, SHUTTING_DOWN}:
            assert server.transport is not None
            if reply == SHUTTING_DOWN:
                await server.push(reply)
            server.transport.close()
            return ""
        return reply

    async def auth_XOAUTH2(self, server: SMTP, args: Sequence[str]) -> AuthResult:
        """As Gmail does: a wrong token is answered with a challenge, whose answer is refused."""
        self.logins += 1
        given = base64.b64decode(args[1]).decode()
        assert given.startswith("user=")
        assert given.endswith("\x01\x01")
        if f"\x01auth=Bearer {self.token}\x01" in given:
            return AuthResult(success=True, auth_data=LoginPassword(b"", b""))
        await server.push("334 " + base64.b64encode(b'{"status":"400","schemes":"Bearer"}').decode())
        assert await server._reader.readline() == b"\r\n"
        return AuthResult(success=False, handled=False, message=WRONG_PASSWORD)

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        """PLAIN and LOGIN."""
        self.logins += 1
        if self.on_login:
            return AuthResult(success=False, handled=False, message=self.on_login.pop(0))
        given = (data.login.decode(), data.password.decode())
        if given == self.login:
            return AuthResult(success=True, auth_data=data)
        return AuthResult(success=False, handled=False, message=WRONG_PASSWORD)


class _Counted(SMTP):
    """Counts connections, and notes which commands came before TLS."""

    office: PostOffice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._original_transport is None:
            self.office.connections += 1
            self.office.open += 1
            self.office.most_open = max(self.office.most_open, self.office.open)
            self.office._clients.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.office.open -= 1
        super().connection_lost(error)

    async def end(self) -> None:
        """Stop talking to this client."""
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
            await self._handler_coroutine

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        if self.transport is not None and self.transport.get_extra_info("sslcontext") is None:
            self.office.in_the_clear.append(command)
        return await super()._call_handler_hook(command, *args)


@asynccontextmanager
async def post_office(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    require_starttls: bool = False,
    size: int = 1_000_000,
    without: Sequence[str] = (),
    replies: Mapping[str, list[str]] | None = None,
    **settings: Any,
) -> AsyncIterator[PostOffice]:
    """A server that offers STARTTLS with this certificate, or speaks TLS from the first byte, or neither.

    `without` are ways to log in that it does not offer; `size` is the most octets of a mail.
    """
    office = PostOffice(**settings)
    office.on_recipient |= replies or {}
    loop = asyncio.get_running_loop()
    talks: list[_Counted] = []

    def connected() -> SMTP:
        protocol = _Counted(
            office,
            loop=loop,
            hostname="mail.test",
            data_size_limit=size,
            tls_context=starttls,
            require_starttls=require_starttls,
            auth_require_tls=tls is None,
            auth_exclude_mechanism=[*without, *(["XOAUTH2"] if office.token is None else [])],
            authenticator=office.authenticate,
        )
        protocol.office = office
        talks.append(protocol)
        return protocol

    server = await loop.create_server(connected, "127.0.0.1", 0, ssl=tls)
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        server.close()
        office.drop_all()
        await asyncio.gather(*(talk.end() for talk in talks), return_exceptions=True)
        await server.wait_closed()
