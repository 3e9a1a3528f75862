"""The e-mail channel: settings, what people read, and verdicts. The judge of a mail is Python's own parser."""

import csv
import io
import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import secrets_of
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import Transition
from sinks.channels.email import CHANNEL, EmailDestination, classify, digest, render
from sinks.contract import COMMON_HELP, Digest, End, Mail, Message, Receipt, RenderError
from sinks.outbound import Answer, ErrorCode
from tests.sinks.post_office import GREYLISTED, NO_BASIC, NO_STARTTLS, PUT_OFF, SHUTTING_DOWN, UNKNOWN, WRONG_PASSWORD
from tests.sinks.samples import BASE_URL, INCIDENT, QUEUED_AT, message, notification

GOLDEN = Path(__file__).parent / "golden"
ADA, GRACE, EDSGER = "ada@example.com", "grace@example.com", "edsger@example.com"
LINK = "https://stormweir.example.com/incidents/00010203-0405-0607-0809-0a0b0c0d0e0f"
HOSTILE = [
    "x\r\nBcc: eve@evil.example\r\n\r\n<h1>spoofed</h1>",
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "{{ 7*7 }} ${7*7} %s %(a)s",
    "<!channel> @everyone",
    "=cmd|'/c calc'!A0",
    "+1", "-1", "@SUM(1)", "\t=1", "\uff1d1",
    "\u202egnp.exe",
    "a" * 199 + "\U0001f6a8\U0001f6a8",
    "\ud800 half a character",
    "\x00\x1b[31m",
    "=?utf-8?q?Bcc:_eve?=",
    "\u2028.\u2029.",
    "",
]  # fmt: skip


def settings(**fields: Any) -> EmailDestination:
    """A destination with one recipient."""
    known = {"id": "ops", "host": "mail.example.com", "sender": "Stormweir <alerts@example.com>", "recipients": [ADA]}
    return EmailDestination.model_validate(known | fields)


def rendered(about: Message, **fields: Any) -> Mail:
    """The one mail of a message."""
    (mail,) = render(about, settings(**fields), "")
    return mail


def parsed(mail: Mail) -> EmailMessage:
    """As a receiver reads it; every octet is ASCII, and no line is longer than SMTP takes."""
    content = mail.message.as_bytes(policy=policy.SMTP)
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    return message_from_bytes(content, policy=policy.default)


def part(mail: EmailMessage, kind: str) -> str:
    """The text of the one part of this kind."""
    (found,) = [part for part in mail.walk() if part.get_content_type() == kind]
    return str(found.get_content()).replace("\r\n", "\n")


class Elements(HTMLParser):
    """The elements of a page, with names of attributes and values of links; and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# -- what people read


@pytest.mark.parametrize(("kind", "file"), [("text/plain", "email.txt"), ("text/html", "email.html")])
def test_bodies_are_the_golden_ones(kind: str, file: str) -> None:
    """Text and HTML of the sample incident, to the letter."""
    assert part(parsed(rendered(message())), kind) == (GOLDEN / file).read_text()


def test_both_bodies_have_details_metrics_times_and_the_link() -> None:
    """A17: whatever a reader's program shows, all four are there."""
    mail = parsed(rendered(message()))
    page = Elements(part(mail, "text/html"))
    assert page.links == [LINK]
    for text in (part(mail, "text/plain"), "\n".join(page.texts)):
        for fact in (INCIDENT.title, "pay ments/eu", "critical", "db-1/disk", "prod", "7", "2025-10-09 08:48:20 UTC"):
            assert fact in text
    assert LINK in part(mail, "text/plain")


@pytest.mark.parametrize(
    ("severity", "transition", "earlier", "subject"),
    [
        (Severity.CRITICAL, "triggered", (), "\U0001f6a8 Disk full"),
        (Severity.ERROR, "triggered", (), "\U0001f534 Disk full"),
        (Severity.WARNING, "triggered", (), "\u26a0\ufe0f Disk full"),
        (Severity.INFO, "triggered", (), "\u2139\ufe0f Disk full"),
        (Severity.CRITICAL, "escalated", (), "\U0001f6a8 Escalated: Disk full"),
        (Severity.ERROR, "acknowledged", (), "\U0001f534 Acknowledged: Disk full"),
        (Severity.CRITICAL, "resolved", (), "\u2705 Resolved: Disk full"),
        (Severity.CRITICAL, "resolved", ("triggered",), "\u2705 Opened and resolved: Disk full"),
    ],
)
def test_subject(severity: Severity, transition: str, earlier: tuple[str, ...], subject: str) -> None:
    """A16: a mark of the severity or of the end, what happened, and the title; ASCII on the wire by RFC 2047."""
    status = Status.RESOLVED if transition == "resolved" else Status.OPEN
    newest = notification(transition=Transition(transition), severity=severity, status=status, title="Disk full")
    told = tuple(map(Transition, (*earlier, transition)))
    mail = rendered(message(newest)._replace(told=told))
    assert parsed(mail)["Subject"] == subject
    header = re.search(rb"^Subject: (.*?)\r\n(?! )", mail.message.as_bytes(policy=policy.SMTP), re.M | re.S)
    assert header is not None
    assert all(len(word) <= 75 for word in header[1].split() if word.startswith(b"=?"))


def test_headers_that_programs_use() -> None:
    """Filters have severity and incident, auto-responders know that nobody wrote this; the Date is the change's."""
    mail = parsed(rendered(message(), recipients=[ADA, GRACE], reply_to="Ops <ops@example.com>"))
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Alert-Severity"] == "critical"
    assert mail["X-Stormweir-Incident"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert mail["From"] == "Stormweir <alerts@example.com>"
    assert mail["To"] == f"{ADA}, {GRACE}"
    assert mail["Reply-To"] == "Ops <ops@example.com>"
    assert int(mail["Date"].datetime.timestamp()) == QUEUED_AT // 1000


def test_an_incident_is_a_thread() -> None:
    """Each change has an id of its own, the same in each attempt, and refers to the one id of its incident."""
    opened, again, resolved = (
        parsed(rendered(about, sender="alerts@a-long-name.department-of-operations.monitoring.example.com"))
        for about in (
            message(),
            message(now=QUEUED_AT + 60_000),
            message(notification(1, Transition.RESOLVED, status=Status.RESOLVED)),
        )
    )
    assert opened["Message-ID"] == again["Message-ID"] != resolved["Message-ID"]
    host = "a-long-name.department-of-operations.monitoring.example.com"
    root = f"<incident-00010203-0405-0607-0809-0a0b0c0d0e0f@{host}>"
    assert {mail[name] for mail in (opened, resolved) for name in ("References", "In-Reply-To")} == {root}
    assert opened["Message-ID"] == f"<{message().id}@{host}>"
    assert root.encode() in rendered(message(), sender=f"a@{host}").message.as_bytes(policy=policy.SMTP)


def test_a_test_mail_says_so() -> None:
    """A14: subject and body mark it as a test; it comes from the configured sender."""
    mail = parsed(rendered(message(test=True)))
    assert mail["Subject"].startswith("[Test] \U0001f6a8")
    assert mail["From"] == "Stormweir <alerts@example.com>"
    for kind in ("text/plain", "text/html"):
        assert "This is a test." in part(mail, kind)
        assert "This is a test." not in part(parsed(rendered(message())), kind)


def test_csv_is_attached_if_asked_for() -> None:
    """A18: on, one part that the csv module reads, with the figures; off, none."""
    assert [part for part in parsed(rendered(message())).walk() if part.get_content_type() == "text/csv"] == []
    mail = parsed(rendered(message(), attach_csv=True))
    rows = list(csv.reader(io.StringIO(part(mail, "text/csv")), strict=True))
    assert rows[:4] == [["name", "value"], ["Alerts", "7"], ["Repeats", "5"], ["Distinct alerts", "2"]]
    assert ["Service", "pay ments/eu"] in rows
    assert ["env", "prod"] in rows
    (attachment,) = mail.iter_attachments()
    assert attachment.get_filename() == "incident-00010203-0405-0607-0809-0a0b0c0d0e0f.csv"


# -- hostile text


def poisoned(text: str) -> Message:
    """Every text of an incident is this one."""
    fields = dict.fromkeys(("title", "service", "source", "dedup_key"), text)
    return message(notification(labels={text or "label": text, "other": text}, **fields))


def check_harmless(text: str) -> None:
    """The mail has the headers, parts and elements of a harmless one, and no cell is a formula."""
    harmless = parsed(rendered(poisoned("harmless"), attach_csv=True))
    mail = parsed(rendered(poisoned(text), attach_csv=True))
    assert mail.keys() == harmless.keys()
    assert [p.get_content_type() for p in mail.walk()] == [p.get_content_type() for p in harmless.walk()]
    assert not mail.defects
    assert mail["To"] == ADA
    page, plain = Elements(part(mail, "text/html")), Elements(part(harmless, "text/html"))
    assert set(page.elements) == set(plain.elements)
    assert page.links == [LINK]
    starts = ("Details", "  ", "Metrics", "Labels", "Open in Stormweir: ", "\U0001f6a8 ")
    assert all(line.startswith(starts) for line in part(mail, "text/plain").splitlines() if line)
    cells = [cell for row in csv.reader(io.StringIO(part(mail, "text/csv")), strict=True) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20"))]
    assert not [c for c in mail["Subject"] + part(mail, "text/plain") if c in "\x00\x1b\u202e\u2028"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless(text: str) -> None:
    """No header, part, element, link or formula comes out of an alert's text."""
    check_harmless(text)


@given(st.text(max_size=300))
def test_any_text_is_harmless(text: str) -> None:
    """The same for whatever text there is."""
    check_harmless(text)


def test_long_texts_are_cut() -> None:
    """A title of a megabyte is 200 characters in the subject, and the mail stays small; so do a thousand labels."""
    long = "\U0001f6a8" * 1_000_000
    mail = rendered(message(notification(title=long, labels={f"l{n}": long for n in range(1000)})))
    subject = parsed(mail)["Subject"]
    assert len(subject) <= 210
    assert subject.endswith("\u2026")
    assert len(mail.message.as_bytes()) < 1_000_000
    assert "and more: 950" in part(parsed(mail), "text/plain")


@pytest.mark.parametrize("at", [1, 2**62])
def test_any_time_has_a_text(at: int) -> None:
    """A sender's clock can be wrong by any amount."""
    assert "UTC" in part(parsed(rendered(message(notification(opened_at=at, last_alert_at=at)))), "text/plain")


# -- a summary


def test_a_summary_tells_how_many_and_which() -> None:
    """Counts, the worst with their links, "and N more"; it is in no incident's thread."""
    incidents = [
        msgspec.structs.replace(INCIDENT, incident_id=bytes([n] * 16), title=f"Nr. {n} <b>") for n in range(20)
    ]
    told = Digest(
        id=str(UUID(int=7)),
        total=50,
        by_severity={Severity.CRITICAL: 20, Severity.INFO: 30},
        resolved=12,
        incidents=incidents,
        base_url=BASE_URL.rstrip("/"),
        now=QUEUED_AT,
    )
    (sent,) = digest(told, settings(recipients=[ADA, GRACE]))
    assert list(sent.recipients) == [ADA, GRACE]
    mail = parsed(sent)
    assert mail["Subject"] == "\U0001f6a8 50 incidents changed"
    assert (mail["X-Alert-Severity"], mail["References"]) == ("critical", None)
    assert mail["Message-ID"] == f"<{told.id}@example.com>"
    assert part(mail, "text/plain") == (GOLDEN / "email-digest.txt").read_text()
    page = Elements(part(mail, "text/html"))
    assert len(page.links) == 22
    assert all(link.startswith("https://stormweir.example.com/incidents") for link in page.links)
    assert "b" not in {name for name, _ in page.elements}


# -- settings


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("recipients", {"recipients": []}),
        ("recipients", {"recipients": [f"a{n}@example.com" for n in range(51)]}),
        ("recipients.1", {"recipients": [ADA, "no address"]}),
        ("recipients.0", {"recipients": ["Ada <ada@example.com>"]}),
        ("recipients.0", {"recipients": ["ada@example.com\r\nBcc: eve@evil.example"]}),
        ("recipients.0", {"recipients": "ada@exa mple.com, grace@example.com"}),
        ("recipients.0", {"recipients": ["\u00e4da@example.com"]}),
        ("sender", {"sender": "alerts"}),
        ("sender", {"sender": "Evil\r\nBcc: eve@evil.example <alerts@example.com>"}),
        ("reply_to", {"reply_to": "nobody"}),
        ("host", {"host": "mail.example.com/x"}),
        ("host", {"host": "-oProxyCommand=x"}),
        ("port", {"port": 0}),
        ("security", {"security": "ssl"}),
        ("username", {"username": "u", "password": "geheim", "security": "none"}),
        ("username", {"oauth_client_id": "app", "oauth_token_url": "https://login.example.com/"}),
        ("oauth_client_id", {"username": "u", "oauth_token_url": "https://login.example.com/"}),
        ("password", {"username": "u"}),
        ("per_minute", {"per_minute": 0}),
        ("smtp_host", {"smtp_host": "x"}),
    ],
)
def test_wrong_settings_are_refused_by_field(field: str, fields: dict[str, Any]) -> None:
    """The error names the field, and its text no secret."""
    with pytest.raises(ValidationError) as caught:
        settings(**fields)
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [field]
    assert "geheim" not in "".join(error["msg"] for error in caught.value.errors())


@pytest.mark.parametrize(
    ("fields", "port", "security"),
    [
        ({}, 587, "starttls"),
        ({"port": 465}, 465, "tls"),
        ({"port": 25}, 25, "starttls"),
        ({"security": "none"}, 25, "none"),
        ({"security": "tls"}, 465, "tls"),
        ({"port": 4650, "security": "tls"}, 4650, "tls"),
    ],
)
def test_encryption_unless_it_is_switched_off(fields: dict[str, Any], port: int, security: str) -> None:
    """Only the word `none` sends mail in the clear."""
    server = settings(**fields).server
    assert (server.port, server.security) == (port, security)


def test_addresses_are_kept_in_one_form() -> None:
    """Names with commas, umlauts and umlaut domains work; nobody is listed twice; a text with commas is a list."""
    made = settings(
        sender='"Ops, T\u00ebam" <alerts@m\u00fcller.example>',
        recipients=f" {ADA}, {GRACE},{ADA},root@localhost,ops@mail.corp.local ",
    )
    assert made.recipients == [ADA, GRACE, "root@localhost", "ops@mail.corp.local"]
    (mail,) = render(message(), made, "")
    sender = parsed(mail)["From"].addresses[0]
    assert (sender.display_name, sender.addr_spec) == ("Ops, T\u00ebam", "alerts@xn--mller-kva.example")
    assert mail.sender == "alerts@xn--mller-kva.example"


def test_environment_variables_make_a_destination() -> None:
    """C108: the variables' texts, and no others, are settings that render; without the required ones there are none."""
    variables = {
        "SMTP_HOST": "mail.example.com",
        "SMTP_PORT": "465",
        "SMTP_USER": "stormweir",
        "SMTP_PASSWORD": "geheim",
        "SMTP_FROM": "Stormweir <alerts@example.com>",
        "SMTP_TO": f"{ADA}, {GRACE}",
    }
    assert set(CHANNEL.environment) == set(variables)
    made = EmailDestination.model_validate(
        {"id": "env", **{CHANNEL.environment[name]: value for name, value in variables.items()}}
    )
    (mail,) = render(message(), made, "")
    assert (mail.server.security, mail.server.password, list(mail.recipients)) == ("tls", "geheim", [ADA, GRACE])
    for name in CHANNEL.required:
        fields = {CHANNEL.environment[other]: value for other, value in variables.items() if other != name}
        with pytest.raises(ValidationError):
            EmailDestination.model_validate({"id": "env", **fields})


def test_secrets_are_marked_and_not_shown() -> None:
    """Password and client secret are secrets; neither settings nor mail show them."""
    assert set(secrets_of(EmailDestination)) == {"password", "oauth_client_secret"}
    made = settings(
        username="u",
        password="geheim1",
        oauth_client_id="app",
        oauth_client_secret="geheim2",
        oauth_token_url="https://login.example.com/token",
    )
    (mail,) = render(message(), made, "")
    assert "geheim" not in f"{made!r} {mail!r} {mail.rates}"
    assert (mail.server.password, mail.server.oauth_client_secret) == ("geheim1", "geheim2")


@pytest.mark.parametrize("name", CHANNEL.examples)
def test_examples_are_valid(name: str) -> None:
    """Each example of the channel's page is a destination."""
    assert EmailDestination.model_validate({"id": "x", **CHANNEL.examples[name]}).type == "email"


def test_who_shares_a_login_shares_its_rate() -> None:
    """The rate counts for the login, whoever the recipients are."""
    one, two, other = (
        rendered(message(), **fields).rates[0]
        for fields in (
            {"username": "u", "password": "p", "per_minute": 60},
            {"username": "u", "password": "p", "per_minute": 60, "recipients": [GRACE]},
            {"username": "v", "password": "p", "per_minute": 60},
        )
    )
    assert one == two
    assert one.scope != other.scope
    assert (one.per_second, one.burst) == (1.0, 10)


# -- attempts and verdicts


def test_whom_it_reached_is_not_mailed_again() -> None:
    """The next attempt is for the others, who read the same mail; when nobody is left there is nothing to send."""
    everybody = settings(recipients=[ADA, GRACE, EDSGER])
    (mail,) = render(message(reached=(ADA, EDSGER)), everybody, "")
    assert list(mail.recipients) == [GRACE]
    assert parsed(mail)["To"] == f"{ADA}, {GRACE}, {EDSGER}"
    with pytest.raises(RenderError, match="nobody_left"):
        render(message(reached=(ADA, GRACE, EDSGER)), everybody, "")


def answer(stage: str, reply: str, **recipients: str) -> Answer:
    """An answer by the text of replies."""
    replies = {f"{name}@example.com": (int(text[:3]), text[4:]) for name, text in recipients.items()}
    body = {"stage": stage, "text": reply[4:], "recipients": replies}
    return Answer(int(reply[:3]), body=msgspec.json.encode(msgspec.convert(body, Receipt)))


SILENT = ("refused", "dns", "timeout", "tls", "reset")
VERDICTS = [
    (answer("data", "250 OK", ada="250 OK"), End.DONE, "", False),
    (answer("data", "250 OK", ada="250 OK", eve=UNKNOWN), End.DONE, "recipient_refused: eve@example.com", False),
    (answer("data", "250 OK", ada="250 OK", eve=PUT_OFF), End.RETRY, "greylisted: eve@example.com", False),
    (answer("data", "250 OK", ada="250 OK", eve=PUT_OFF, bob=UNKNOWN), End.RETRY, "greylisted: eve@example.com", False),
    (answer("recipients", UNKNOWN, ada=UNKNOWN), End.REFUSED, "recipient_refused: ada@example.com", True),
    (answer("recipients", GREYLISTED, ada=GREYLISTED), End.RETRY, "greylisted", False),
    (answer("recipients", PUT_OFF, ada=PUT_OFF), End.RETRY, "greylisted", False),
    (answer("recipients", "452 4.2.2 mailbox full", ada="452 4.2.2 mailbox full"), End.RETRY, "unavailable", False),
    (answer("greeting", "421 4.3.2 busy"), End.RETRY, "unavailable", False),
    (answer("greeting", "421 4.7.0 Too many connections"), End.RETRY, "rate_limited", False),
    (answer("greeting", "421 4.7.0 corporate policy"), End.RETRY, "unavailable", False),
    (answer("greeting", "554 5.7.1 blocked using a list"), End.REFUSED, "server_refused", True),
    (answer("starttls", "000 not offered"), End.REFUSED, "no_starttls", True),
    (answer("starttls", "454 4.7.0 TLS not available"), End.RETRY, "unavailable", False),
    (answer("auth", "000 not offered"), End.REFUSED, "no_login", True),
    (answer("auth", WRONG_PASSWORD), End.REFUSED, "auth_failed", True),
    (answer("auth", "534 5.7.9 Application-specific password required"), End.REFUSED, "auth_failed", True),
    (answer("auth", "454 4.7.0 Temporary authentication failure"), End.RETRY, "unavailable", False),
    (answer("auth", NO_BASIC), End.REFUSED, "oauth_needed", True),
    (
        answer("auth", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled."),
        End.REFUSED,
        "oauth_needed",
        True,
    ),
    (answer("oauth", "400 "), End.REFUSED, "oauth_refused", True),
    (answer("oauth", "200 "), End.REFUSED, "oauth_refused", True),
    (answer("oauth", "429 "), End.RETRY, "unavailable", False),
    (answer("oauth", "503 "), End.RETRY, "unavailable", False),
    (answer("sender", NO_STARTTLS), End.REFUSED, "tls_needed", True),
    (answer("sender", "530 5.7.1 Authentication required"), End.REFUSED, "auth_failed", True),
    (answer("sender", "553 5.7.1 not owned by user"), End.REFUSED, "sender_refused", True),
    (answer("sender", "552 message size exceeds fixed maximum"), End.REFUSED, "too_large", False),
    (answer("data", "552 5.3.4 too big"), End.REFUSED, "too_large", False),
    (answer("data", "554 5.7.1 spam"), End.REFUSED, "message_refused", False),
    (answer("data", "554 Message rejected: Email address is not verified."), End.REFUSED, "sender_refused", True),
    (answer("data", "550 5.7.60 Client does not have permissions"), End.REFUSED, "sender_refused", True),
    (answer("data", SHUTTING_DOWN), End.RETRY, "unavailable", False),
    (answer("data", "454 Throttling failure: Maximum sending rate exceeded."), End.RETRY, "rate_limited", False),
    *((Answer(0, error_code=code), End.RETRY, str(code), False) for code in SILENT),
    (Answer(0, error_code=ErrorCode.BLOCKED_TARGET), End.REFUSED, "blocked_target", True),
]  # fmt: skip


@pytest.mark.parametrize(("got", "end", "reason", "broken"), VERDICTS)
def test_verdict(got: Answer, end: End, reason: str, broken: bool) -> None:
    """What may pass is tried again, the rest is refused; what concerns every mail breaks the destination."""
    verdict = classify(got._replace(error_code=ErrorCode(got.error_code) if got.error_code else None))
    assert verdict[:3] == (end, reason, broken)


def test_a_retry_names_whom_it_reached() -> None:
    """Accepted ones alone: neither who was put off nor who was refused."""
    assert classify(answer("data", "250 OK", ada="250 OK", eve=PUT_OFF, bob=UNKNOWN)).reached == (ADA,)


def test_every_reason_is_explained() -> None:
    """Each reason is a key of the channel's help or of the common one, and each of the channel's keys is a reason."""
    reasons = {reason.partition(":")[0] for _, _, reason, _ in VERDICTS if reason} | {"nobody_left"}
    assert reasons <= {*CHANNEL.help, *COMMON_HELP}
    assert set(CHANNEL.help) <= reasons


def test_many_refused_recipients_are_counted() -> None:
    """A reason names three at most."""
    gone = {f"a{n}": UNKNOWN for n in range(9)}
    verdict = classify(answer("recipients", UNKNOWN, **gone))
    assert verdict.reason == "recipient_refused: a0@example.com, a1@example.com, a2@example.com and 6 more"
