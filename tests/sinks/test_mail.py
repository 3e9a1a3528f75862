"""The SMTP transport against real servers on loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
import uvloop
from aiohttp import web

from sinks import mail as mail_module
from sinks.contract import Mail, MailServer, Receipt
from sinks.mail import Mailer
from sinks.outbound import Answer, ErrorCode, Outbound
from tests.kafka.certificates import Authority
from tests.sinks.post_office import (
    DROP,
    NO_BASIC,
    NO_STARTTLS,
    PUT_OFF,
    SHUTTING_DOWN,
    TOKEN,
    UNKNOWN,
    WRONG_PASSWORD,
    PostOffice,
    post_office,
)
from tests.sinks.samples import LOOPBACK, recording, until
from tests.sinks.test_outbound import raw_server

LOGIN = ("stormweir", "geheim")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Issues the servers' certificates."""
    return Authority(tmp_path_factory.mktemp("mail"))


@pytest.fixture(scope="module")
def server_tls(authority: Authority) -> ssl.SSLContext:
    """A server's side: a certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("mail"))
    return context


@pytest.fixture(scope="module")
def trust(authority: Authority) -> ssl.SSLContext:
    """Who trusts that authority."""
    return ssl.create_default_context(cafile=authority.path)


@asynccontextmanager
async def mailing(
    trust: ssl.SSLContext | None = None, networks: Any = LOOPBACK, total_s: float = 30
) -> AsyncIterator[Mailer]:
    """A transport that is closed in the end."""
    outbound = Outbound(networks)
    mailer = Mailer(outbound, networks, trust, total_s)
    try:
        yield mailer
    finally:
        await mailer.close()
        await outbound.close()


def mail(
    office: PostOffice | int, security: str = "starttls", to: tuple[str, ...] = ("ada@example.com",), **server: Any
) -> Mail:
    """A small mail to a server on loopback."""
    message = EmailMessage()
    message["Message-ID"] = "<one@example.com>"
    message.set_content("Hello.\n.\nA dot alone ends nothing \u2603.\n")
    port = office if isinstance(office, int) else office.port
    settings = {"host": "127.0.0.1", "port": port, "security": security, **server}
    return Mail(MailServer(**settings), "alerts@example.com", to, message)


def stage(answer: Answer) -> tuple[str, int, str]:
    """How far it came, the code, and the beginning of the text."""
    receipt = msgspec.json.decode(answer.body, type=Receipt)
    return receipt.stage, answer.status, receipt.text


def logged_in(office: PostOffice) -> dict[str, str]:
    """Settings of the office's login."""
    assert office.login is not None
    return {"username": office.login[0], "password": office.login[1]}


@pytest.mark.parametrize("without", [(), ("PLAIN",), ("LOGIN",)])
async def test_starttls_and_login(server_tls: ssl.SSLContext, trust: ssl.SSLContext, without: tuple[str, ...]) -> None:
    """By PLAIN or LOGIN, in one try; before TLS the server hears of nothing but EHLO; the content arrives as it is."""
    async with post_office(starttls=server_tls, login=LOGIN, without=without, require_starttls=True) as office:
        async with mailing(trust) as mailer:
            answer = await mailer.send(mail(office, **logged_in(office)))
        assert stage(answer)[:2] == ("data", 250)
        assert office.logins == 1
        assert set(office.in_the_clear) <= {"EHLO"}
        (taken,) = office.taken
        assert (taken.sender, taken.recipients) == ("alerts@example.com", ["ada@example.com"])
        assert taken.content.isascii()
        assert taken.mail.get_content().replace("\r\n", "\n") == "Hello.\n.\nA dot alone ends nothing \u2603.\n"


async def test_tls_from_the_first_byte(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """Security `tls` logs in and sends without a word in the clear."""
    async with post_office(tls=server_tls, login=LOGIN) as office, mailing(trust) as mailer:
        answer = await mailer.send(mail(office, "tls", **logged_in(office)))
        assert answer.status == 250
        assert office.in_the_clear == []
        assert len(office.taken) == 1


async def test_starttls_never_falls_back(trust: ssl.SSLContext) -> None:
    """A server that offers no STARTTLS (or somebody between who hides it) gets neither login nor mail."""
    async with post_office(login=LOGIN) as office, mailing(trust) as mailer:
        answer = await mailer.send(mail(office, username="u", password="p"))
        assert stage(answer)[:2] == ("starttls", 0)
        assert (office.logins, office.taken) == (0, [])


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_on_the_event_loop_of_production(
    server_tls: ssl.SSLContext, trust: ssl.SSLContext, security: str
) -> None:
    """uvloop, which the notifier runs on, sends, uses the connection again, and names what it cannot trust."""

    async def send(office: PostOffice) -> list[Answer]:
        async with mailing(trust) as mailer, mailing() as wary:
            sent = mail(office, security, **logged_in(office))
            answers = [await mailer.send(sent), await mailer.send(sent), await wary.send(sent)]
        await until(lambda: office.open == 0)
        return answers

    offered = {"starttls": server_tls} if security == "starttls" else {"tls": server_tls}
    async with post_office(login=LOGIN, **offered) as office:
        first, second, untrusted = await asyncio.to_thread(lambda: uvloop.run(send(office)))
        assert (first.status, second.status, untrusted.error_code) == (250, 250, ErrorCode.TLS)
        assert (office.logins, len(office.taken)) == (1, 2)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_an_untrusted_certificate_is_named(server_tls: ssl.SSLContext, security: str) -> None:
    """Neither login nor mail goes to a server whose certificate nobody vouches for."""
    offered = {"starttls": server_tls} if security == "starttls" else {"tls": server_tls}
    async with post_office(login=LOGIN, **offered) as office, mailing() as mailer:
        answer = await mailer.send(mail(office, security, **logged_in(office)))
        assert answer == Answer(0, error_code=ErrorCode.TLS)
        assert (office.logins, office.taken) == (0, [])


async def test_refusals_before_the_mail(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """530 without STARTTLS, 535, 550 5.7.30: stage, code and text are those of the server, and one login is tried."""
    async with post_office(starttls=server_tls, require_starttls=True) as office, mailing(trust) as mailer:
        assert stage(await mailer.send(mail(office, "none"))) == ("sender", 530, NO_STARTTLS[4:])
    async with post_office(starttls=server_tls, login=LOGIN) as office, mailing(trust) as mailer:
        answer = await mailer.send(mail(office, username="stormweir", password="old"))
        assert stage(answer) == ("auth", 535, WRONG_PASSWORD[4:])
        assert office.logins == 1
        office.on_login.append(NO_BASIC)
        assert stage(await mailer.send(mail(office, **logged_in(office)))) == ("auth", 550, NO_BASIC[4:])
        assert stage(await mailer.send(mail(office)))[:2] == ("sender", 530)
        assert office.taken == []


async def test_a_login_that_is_not_offered(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """Without PLAIN and LOGIN, and without XOAUTH2, nothing is tried."""
    async with post_office(starttls=server_tls, login=LOGIN, without=("PLAIN", "LOGIN")) as office:
        async with mailing(trust) as mailer:
            assert stage(await mailer.send(mail(office, **logged_in(office))))[:2] == ("auth", 0)
            oauth = {"username": "u", "oauth_token_url": "http://127.0.0.1:9/"}
            assert stage(await mailer.send(mail(office, **oauth)))[:2] == ("auth", 0)
        assert office.logins == 0


async def test_results_are_of_each_recipient() -> None:
    """One of three does not exist, one is put off: the third has the mail, and the answer says all three."""
    replies = {"grace@example.com": [PUT_OFF]}
    async with post_office(never=frozenset({"gone@example.com"}), replies=replies) as office, mailing() as mailer:
        to = ("ada@example.com", "gone@example.com", "grace@example.com")
        answer = await mailer.send(mail(office, "none", to))
        assert answer.status == 250
        assert msgspec.json.decode(answer.body, type=Receipt).recipients == {
            "ada@example.com": (250, ""),
            "gone@example.com": (550, UNKNOWN[4:]),
            "grace@example.com": (451, PUT_OFF[4:]),
        }
        assert [taken.recipients for taken in office.taken] == [["ada@example.com"]]


async def test_all_recipients_refused() -> None:
    """Nothing is sent; the code is the mildest, since that one may pass; the connection serves the next mail."""
    replies = {"ada@example.com": [PUT_OFF]}
    async with post_office(never=frozenset({"gone@example.com"}), replies=replies) as office, mailing() as mailer:
        answer = await mailer.send(mail(office, "none", ("gone@example.com", "ada@example.com")))
        assert stage(answer) == ("recipients", 451, PUT_OFF[4:])
        assert (await mailer.send(mail(office, "none"))).status == 250
        assert office.connections == 1
        assert len(office.taken) == 1


async def test_too_large_by_the_size_that_is_announced() -> None:
    """The server refuses at MAIL, before the content is sent."""
    async with post_office(size=100) as office, mailing() as mailer:
        got, code, _ = stage(await mailer.send(mail(office, "none")))
        assert (got, code) == ("sender", 552)
        assert office.taken == []


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (SHUTTING_DOWN, ("data", 421)),
        ("554 5.7.1 Message rejected as spam", ("data", 554)),
        (DROP, None),
    ],
)
async def test_the_end_of_data(reply: str, answer: tuple[str, int] | None) -> None:
    """421 in the middle, 554 for the content, and no reply at all; the next mail goes out in each case."""
    async with post_office(on_data=[reply]) as office, mailing() as mailer:
        got = await mailer.send(mail(office, "none"))
        if answer is None:
            assert got == Answer(0, error_code=ErrorCode.RESET)
        else:
            assert stage(got)[:2] == answer
        assert (await mailer.send(mail(office, "none"))).status == 250


async def test_connections_are_used_again_and_few() -> None:
    """Twenty mails at a time go over three connections, the next one over one of these; in the end all are closed."""
    async with post_office() as office:
        async with mailing() as mailer:
            answers = await asyncio.gather(*(mailer.send(mail(office, "none")) for _ in range(20)))
            assert {answer.status for answer in answers} == {250}
            assert (await mailer.send(mail(office, "none"))).status == 250
            assert (office.connections, office.most_open, len(office.taken)) == (3, 3, 21)
        await until(lambda: office.open == 0)


async def test_an_idle_connection_is_closed_and_a_dead_one_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its idle time a connection is closed; one that the server closed meanwhile costs no mail."""
    monkeypatch.setattr(mail_module, "IDLE_S", 0.05)
    async with post_office() as office, mailing() as mailer:
        assert (await mailer.send(mail(office, "none"))).status == 250
        await until(lambda: office.open == 0)
        monkeypatch.setattr(mail_module, "IDLE_S", 60)
        assert (await mailer.send(mail(office, "none"))).status == 250
        office.drop_all()
        assert (await mailer.send(mail(office, "none"))).status == 250
        assert office.connections == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254"])
async def test_inward_servers_are_blocked_before_a_connection(host: str) -> None:
    """The guard of HTTP holds here too: no private address outside the allowed networks is dialled."""
    async with post_office() as office, mailing(networks=(ip_network("192.0.2.0/24"),)) as mailer:
        answer = await mailer.send(mail(office, host=host))
        assert answer == Answer(0, error_code=ErrorCode.BLOCKED_TARGET)
        assert office.connections == 0


async def test_without_encryption_to_the_internet_is_blocked() -> None:
    """`none` is for allowed networks alone, as plain http is."""
    async with mailing(networks=(ip_network("192.0.2.0/24"),)) as mailer:
        answer = await mailer.send(mail(9, "none", host="8.8.8.8"))
    assert answer == Answer(0, error_code=ErrorCode.BLOCKED_TARGET)


async def test_no_server_and_no_smtp(free_ports: Any) -> None:
    """Nobody listens, an unknown name, something that speaks HTTP: each has its own error."""
    (port,) = free_ports(1)
    async with mailing() as mailer, recording() as http:
        assert (await mailer.send(mail(port))).error_code is ErrorCode.REFUSED
        assert (await mailer.send(mail(25, host="no-such-host.invalid"))).error_code is ErrorCode.DNS
        web_port = int(http.url.rpartition(":")[2])
        assert (await mailer.send(mail(web_port, "tls"))).error_code is ErrorCode.TLS


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", Answer(0, error_code=ErrorCode.RESET)),
        (b"554 \xff\xfe\x00 go away\r\n", ("greeting", 554, "??\x00 go away")),
        (b"220-" + b"x" * 100_000, Answer(0, error_code=ErrorCode.RESET)),
    ],
)
async def test_a_hostile_greeting(greeting: bytes, answer: object) -> None:
    """Another protocol and an endless line are `reset`; bytes that are no text are harmless."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()

    async with raw_server(talk) as (port, _), mailing() as mailer:
        got = await mailer.send(mail(port, "none"))
    assert (stage(got) if got.body else got) == answer


async def test_a_silent_server_is_left_in_time() -> None:
    """A server that takes the content and says nothing is a time-out."""
    async with post_office() as office, mailing(total_s=0.5) as mailer:
        office.gate = asyncio.Event()
        assert await mailer.send(mail(office, "none")) == Answer(0, error_code=ErrorCode.TIMEOUT)
        office.gate.set()


async def test_a_connection_that_hangs_when_it_is_used_again_is_closed() -> None:
    """An idle connection whose server says nothing any more is a time-out, and is given up."""
    async with post_office() as office, mailing(total_s=0.5) as mailer:
        assert (await mailer.send(mail(office, "none"))).status == 250
        office.gate = asyncio.Event()
        assert await mailer.send(mail(office, "none")) == Answer(0, error_code=ErrorCode.TIMEOUT)
        await until(lambda: office.open == 0)


async def test_a_slow_server_is_left_in_time() -> None:
    """A server that answers every command, but slowly, cannot hold a mail longer than all of it may take."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        while await reader.readline():
            await asyncio.sleep(0.2)
            writer.write(b"250 mail.test\r\n")

    async with raw_server(talk) as (port, _), mailing(total_s=0.5) as mailer:
        assert await mailer.send(mail(port, "none")) == Answer(0, error_code=ErrorCode.TIMEOUT)


OAUTH = {"username": "alerts@example.com", "oauth_client_id": "app", "oauth_client_secret": "s3cret"}


def granting(token: str = TOKEN, expires_in: int = 3600) -> web.Response:
    """The answer of a token endpoint."""
    return web.json_response({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"})


async def test_oauth_by_refresh_token(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """The refresh token is exchanged once for many connections, and the mail server sees the access token alone."""
    async with post_office(starttls=server_tls, token=TOKEN) as office, recording(granting()) as endpoint:
        async with mailing(trust) as mailer:
            sent = mail(office, **OAUTH, password="1//refresh", oauth_token_url=endpoint.url)
            answers = await asyncio.gather(*(mailer.send(sent) for _ in range(6)))
        assert {answer.status for answer in answers} == {250}
        assert (office.logins, len(office.taken)) == (3, 6)
        ((_, form),) = endpoint.requests
        assert parse_qs(form.decode()) == {
            "grant_type": ["refresh_token"],
            "refresh_token": ["1//refresh"],
            "client_id": ["app"],
            "client_secret": ["s3cret"],
        }


async def test_oauth_by_the_applications_own_secret(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """Without a refresh token the application asks for itself, with a scope, as Exchange Online wants it."""
    async with post_office(starttls=server_tls, token=TOKEN) as office, recording(granting()) as endpoint:
        async with mailing(trust) as mailer:
            sent = mail(office, **OAUTH, oauth_token_url=endpoint.url, oauth_scope="https://mail.test/.default")
            assert (await mailer.send(sent)).status == 250
        ((_, form),) = endpoint.requests
        fields = parse_qs(form.decode())
        assert (fields["grant_type"], fields["scope"]) == (["client_credentials"], ["https://mail.test/.default"])


async def test_a_token_that_is_refused_or_expired_is_fetched_again(
    server_tls: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    """A revoked token is refused with 535 once; the next mail has a new one, as has one after its time."""
    answers = [granting("revoked"), granting(expires_in=0), granting()]
    async with post_office(starttls=server_tls, token=TOKEN) as office, recording(*answers) as endpoint:
        async with mailing(trust) as mailer:
            sent = mail(office, **OAUTH, oauth_token_url=endpoint.url)
            assert stage(await mailer.send(sent))[:2] == ("auth", 535)
            assert (await mailer.send(sent)).status == 250
            await mailer.close()
            assert (await mailer.send(sent)).status == 250
        assert len(endpoint.requests) == 3


async def test_a_token_endpoint_that_hangs_holds_up_no_other(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """While one server's token does not come, mail to another with its own goes out."""
    async with (
        post_office(starttls=server_tls, token=TOKEN) as office,
        mailing(trust) as mailer,
        recording() as hanging,
        recording(granting()) as endpoint,
    ):
        hanging.gate = asyncio.Event()
        stuck = asyncio.create_task(mailer.send(mail(office, **OAUTH, oauth_token_url=hanging.url)))
        await until(lambda: hanging.busy)
        assert (await mailer.send(mail(office, **OAUTH, oauth_token_url=endpoint.url))).status == 250
        hanging.gate.set()
        assert stage(await stuck)[0] == "oauth"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (web.json_response({"error": "invalid_grant"}, status=400), 400),
        (web.Response(status=503), 503),
        (web.Response(text="<html>"), 200),
    ],
)
async def test_no_token_no_mail(
    server_tls: ssl.SSLContext, trust: ssl.SSLContext, answer: web.Response, code: int
) -> None:
    """What the endpoint says instead of a token is the answer; an inward endpoint is not asked."""
    async with post_office(starttls=server_tls, token=TOKEN) as office, recording(answer) as endpoint:
        async with mailing(trust) as mailer:
            refused = await mailer.send(mail(office, **OAUTH, oauth_token_url=endpoint.url))
            assert stage(refused)[:2] == ("oauth", code)
            inward = await mailer.send(mail(office, **OAUTH, oauth_token_url="http://10.0.0.1/"))
            assert inward == Answer(0, error_code=ErrorCode.BLOCKED_TARGET)
        assert (office.logins, office.taken) == (0, [])


def test_nothing_shows_a_secret() -> None:
    """Neither password, client secret nor content is in the text form of a mail."""
    shown = repr(mail(25, **OAUTH, password="1//refresh"))
    assert not [secret for secret in ("1//refresh", "s3cret", "Hello") if secret in shown]
