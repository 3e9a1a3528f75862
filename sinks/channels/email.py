"""The e-mail channel: text and HTML over SMTP, one thread for each incident, the result of each recipient.

A server may take some recipients and put off others (RFC 5321, 4.2.5 and greylisting). Those that it took are not
mailed again: the verdict names them, and the next attempt is for the others alone. A message that reached some, while
the server refuses the others for good, is delivered, with the refused ones in the reason: a dead letter would go to
all of them again when it is replayed. What repeats has the same Message-ID.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address, HeaderRegistry, MessageIDHeader
from email.message import EmailMessage
from typing import Annotated, Literal

import msgspec
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, HttpUrl, ValidationInfo, field_validator

from schemas import fingerprint
from schemas.control import AddressMark, Destination, SecretMark
from schemas.wire.alert import Severity
from sinks.contract import (
    DONE,
    Channel,
    Digest,
    End,
    Help,
    Mail,
    MailServer,
    Message,
    Rate,
    Receipt,
    RenderError,
    Verdict,
    no_answer,
)
from sinks.mail_text import MailText, as_csv, of_digest, of_message
from sinks.outbound import Answer

MAX_RECIPIENTS = 50
#: Recipients that a reason names.
_NAMED = 3
_PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}

# Mail inside a company may go to names such as corp.local, or to this machine. The library's list is made for changes.
SPECIAL_USE_DOMAIN_NAMES[:] = [name for name in SPECIAL_USE_DOMAIN_NAMES if name not in {"local", "localhost"}]

# A long Message-ID must stay as it is; Python would write one in References as an encoded word.
_HEADERS = HeaderRegistry()
for _name in ("in-reply-to", "references"):
    _HEADERS.map_to_type(_name, MessageIDHeader)  # type: ignore[arg-type]  # typeshed asks for the class made of it
_POLICY = policy.SMTP.clone(header_factory=_HEADERS, cte_type="7bit")


def _parsed(text: str) -> Address:
    """An address, perhaps with a name: `Alerts <alerts@example.com>`. Raises ValueError."""
    try:
        found = validate_email(
            text,
            allow_display_name=True,
            allow_smtputf8=False,
            check_deliverability=False,
            globally_deliverable=False,
        )
    except EmailNotValidError as error:
        raise ValueError(f"is no e-mail address: {error}") from None
    assert found.ascii_email is not None
    return Address(found.display_name or "", addr_spec=found.ascii_email)


def _mailbox(text: str) -> str:
    return str(_parsed(text))


def _bare(text: str) -> str:
    address = _parsed(text)
    if address.display_name:
        raise ValueError("is an address with a name; give the address alone")
    return address.addr_spec


def _split(value: object) -> object:
    """A text is a list with commas, as in an environment variable."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Mailbox = Annotated[str, Field(max_length=400), AfterValidator(_mailbox)]
Recipients = Annotated[
    list[Annotated[str, Field(max_length=254), AfterValidator(_bare)]],
    BeforeValidator(_split),
    Field(min_length=1, max_length=MAX_RECIPIENTS),
    AfterValidator(lambda addresses: list(dict.fromkeys(addresses))),
]


class EmailDestination(Destination):
    """An SMTP server and whom it mails.

    Without `security` port 465 means `tls` and any other one `starttls`; without `port` it is 465 for `tls`, 25 for
    `none` and 587 for `starttls`.

    With `oauth_token_url` the login is XOAUTH2, and `password` is the refresh token, if there is one. `recipients` are
    a list, or one text with commas. `per_minute` is how many mails a minute the server takes; when more wait than that
    carries in `digest_after` seconds, one mail tells them all.
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["email"] = "email"
    host: Annotated[str, AddressMark()] = Field(
        max_length=253, pattern=r"^[A-Za-z0-9:][A-Za-z0-9:._-]*$", description="The SMTP server."
    )
    port: Annotated[int | None, AddressMark()] = Field(default=None, ge=1, le=65_535, description="Its port.")
    security: Literal["starttls", "tls", "none"] | None = Field(
        default=None,
        description="`starttls` encrypts after the greeting, `tls` from the first byte, `none` is for servers inside"
        " allowed networks; without it port 465 means `tls` and any other one `starttls`.",
    )
    oauth_token_url: HttpUrl | None = Field(
        default=None, description="Where access tokens are made: the login is XOAUTH2 then."
    )
    oauth_client_id: str = Field(
        default="", max_length=500, validate_default=True, description="The application's id at that address."
    )
    oauth_client_secret: Annotated[str | None, SecretMark()] = Field(
        default=None, repr=False, max_length=4_096, description="The application's secret at that address."
    )
    oauth_scope: str = Field(default="", max_length=500, description="What the access token is asked for.")
    username: str = Field(
        default="", max_length=320, validate_default=True, description="The login, if the server wants one."
    )
    password: Annotated[str | None, SecretMark()] = Field(
        default=None,
        repr=False,
        max_length=8_192,
        validate_default=True,
        description="The login's password; with `oauth_token_url` the refresh token, if there is one.",
    )
    sender: Mailbox = Field(description="The address that mails come from, with a name if you like.")
    recipients: Recipients = Field(description="Who gets the mails: a list, or one text with commas.")
    reply_to: Mailbox | None = Field(
        default=None, description="The address that answers go to, if it is not the sender."
    )
    attach_csv: bool = Field(default=False, description="Whether a table of the incident's figures is attached.")
    per_minute: int = Field(
        default=30,
        ge=1,
        le=60_000,
        description="Mails a minute that the server takes; when more wait than that carries in `digest_after` "
        "seconds, one mail tells them all.",
    )

    @field_validator("oauth_client_id", "username")
    @classmethod
    def _for_oauth(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("oauth_token_url") is not None:
            raise ValueError("is needed with oauth_token_url")
        return value

    @field_validator("username")
    @classmethod
    def _not_in_the_open(cls, username: str, info: ValidationInfo) -> str:
        if username and info.data.get("security") == "none":
            raise ValueError("needs security starttls or tls: a password is not sent in the clear")
        return username

    @field_validator("password")
    @classmethod
    def _complete(cls, password: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("username") and not password and info.data.get("oauth_token_url") is None:
            raise ValueError("is needed with username, or oauth_token_url instead")
        return password

    @property
    def server(self) -> MailServer:
        """The server, as the transport takes it."""
        security = self.security or ("tls" if self.port == 465 else "starttls")
        return MailServer(
            host=self.host,
            port=self.port or _PORTS[security],
            security=security,
            username=self.username,
            password=self.password or "",
            oauth_token_url=str(self.oauth_token_url or ""),
            oauth_client_id=self.oauth_client_id,
            oauth_client_secret=self.oauth_client_secret or "",
            oauth_scope=self.oauth_scope,
        )


def render(message: Message, settings: EmailDestination, handle: str) -> Sequence[Mail]:
    """The mail to all whom it has not reached; each attempt's is the same but for that."""
    waiting = [recipient for recipient in settings.recipients if recipient not in message.reached]
    if not waiting:
        raise RenderError("nobody_left")
    incident = message.incident
    incident_id = fingerprint.uuid_text(incident.incident_id)
    mail = _mail(settings, of_message(message), message.id, message.notification.queued_at, incident.severity)
    mail["In-Reply-To"] = mail["References"] = _message_id(f"incident-{incident_id}", settings)
    mail["X-Stormweir-Incident"] = incident_id
    if settings.attach_csv:
        mail.add_attachment(as_csv(incident), subtype="csv", filename=f"incident-{incident_id}.csv")
    return [Mail(settings.server, _parsed(settings.sender).addr_spec, waiting, mail, _rates(settings))]


def digest(told: Digest, settings: EmailDestination) -> Sequence[Mail]:
    """One mail that tells of many incidents."""
    worst = max(told.by_severity, default=Severity.INFO)
    mail = _mail(settings, of_digest(told), told.id, told.now, worst)
    return [Mail(settings.server, _parsed(settings.sender).addr_spec, settings.recipients, mail, _rates(settings))]


def classify(answer: Answer) -> Verdict:
    """The verdict by the stage that was reached, the code, and what known servers write beside it."""
    if (silent := no_answer(answer)) is not None:
        return silent
    receipt = msgspec.json.decode(answer.body, type=Receipt) if answer.body else Receipt("data")
    code, text = answer.status, receipt.text.lower()
    if receipt.stage == "oauth":
        if code == 429 or code >= 500:
            return Verdict(End.RETRY, "unavailable")
        return Verdict(End.REFUSED, "oauth_refused", broken=True)
    if code == 0:
        return Verdict(End.REFUSED, "no_starttls" if receipt.stage == "starttls" else "no_login", broken=True)
    if code < 300:
        return _accepted(receipt.recipients)
    if code < 500:
        if re.search(r"\brate\b|throttl|too many", text):
            return Verdict(End.RETRY, "rate_limited")
        put_off = receipt.stage == "recipients" and code in {450, 451}
        return Verdict(End.RETRY, "greylisted" if put_off else "unavailable")
    return _refused(receipt, code, text)


def _accepted(replies: Mapping[str, tuple[int, str]]) -> Verdict:
    put_off = [recipient for recipient, (code, _) in replies.items() if 400 <= code < 500]
    if put_off:
        reached = tuple(recipient for recipient, (code, _) in replies.items() if code < 300)
        return Verdict(End.RETRY, _naming("greylisted", put_off), reached=reached)
    refused = [recipient for recipient, (code, _) in replies.items() if code >= 500]
    return Verdict(End.DONE, _naming("recipient_refused", refused)) if refused else DONE


def _refused(receipt: Receipt, code: int, text: str) -> Verdict:
    if "5.7.30" in text or "basic authentication is disabled" in text:
        return Verdict(End.REFUSED, "oauth_needed", broken=True)
    if code == 530 and "starttls" in text:
        return Verdict(End.REFUSED, "tls_needed", broken=True)
    if receipt.stage == "auth" or code in {530, 535}:
        return Verdict(End.REFUSED, "auth_failed", broken=True)
    if code in {523, 552} or "5.3.4" in text:
        return Verdict(End.REFUSED, "too_large")
    if receipt.stage == "sender" or "5.7.60" in text or "not verified" in text:
        return Verdict(End.REFUSED, "sender_refused", broken=True)
    if receipt.stage == "recipients":
        return Verdict(End.REFUSED, _naming("recipient_refused", receipt.recipients), broken=True)
    if receipt.stage == "data":
        return Verdict(End.REFUSED, "message_refused")
    return Verdict(End.REFUSED, "server_refused", broken=True)


def _naming(reason: str, recipients: Iterable[str]) -> str:
    first, *rest = sorted(recipients)
    names = [first, *rest[: _NAMED - 1]]
    more = 1 + len(rest) - len(names)
    return f"{reason}: {', '.join(names)}" + (f" and {more} more" if more else "")


def _mail(settings: EmailDestination, text: MailText, own_id: str, at_ms: int, severity: Severity) -> EmailMessage:
    mail = EmailMessage(_POLICY)
    mail["From"] = _parsed(settings.sender)
    mail["To"] = tuple(Address(addr_spec=recipient) for recipient in settings.recipients)
    if settings.reply_to is not None:
        mail["Reply-To"] = _parsed(settings.reply_to)
    mail["Subject"] = text.subject
    mail["Date"] = datetime.fromtimestamp(at_ms // 1000, UTC)
    mail["Message-ID"] = _message_id(own_id, settings)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Alert-Severity"] = severity.name.lower()
    mail.set_content(text.text)
    mail.add_alternative(text.html, subtype="html")
    return mail


def _message_id(own_id: str, settings: EmailDestination) -> str:
    return f"<{own_id}@{_parsed(settings.sender).domain}>"


def _rates(settings: EmailDestination) -> Sequence[Rate]:
    server = settings.server
    login = fingerprint.digest(server.host, str(server.port), server.username).hex()
    return [Rate(f"smtp {login}", settings.per_minute / 60, burst=min(10, settings.per_minute))]


CHANNEL = Channel(
    slug="email",
    title="E-mail (SMTP)",
    settings=EmailDestination,
    render=render,
    classify=classify,
    setup=(
        "Your own relay: ask its administrators for host and port, for a login if it needs one, and to accept mail "
        "from the address in `sender`. A relay without encryption is `security: none`; it must be inside a network of "
        "STORMWEIR_ALLOWED_NETWORKS, as any server with a private address.",
        "Gmail and Google Workspace: turn on 2-Step Verification for the account, open "
        "https://myaccount.google.com/apppasswords, type a name, click Create, and copy the 16 letters. Fill in "
        "`host: smtp.gmail.com`, `port: 587`, the address as `username` and the letters as `password`. Google takes "
        "2,000 mails a day of a Workspace account, 500 of another.",
        "Exchange Online (Microsoft 365) takes no passwords by default from January 2027: register an application. In "
        "https://entra.microsoft.com click App registrations, New registration, then API permissions, Add a "
        "permission, APIs my organization uses, Office 365 Exchange Online, Application permissions, SMTP.SendAsApp, "
        "and Grant admin consent; under Certificates & secrets make a client secret. Let the application use the "
        "mailbox with New-ServicePrincipal and Add-MailboxPermission in Exchange's PowerShell, and switch on "
        "Authenticated SMTP for the mailbox (Microsoft 365 admin center, Active users, Mail, Manage email apps). Fill "
        "in `host: smtp.office365.com`, `port: 587`, the mailbox as `username`, and the `oauth_` fields as in the "
        "example below. It takes 30 mails a minute.",
        "Amazon SES: under Identities verify the domain of `sender`, under Account dashboard click Request production "
        "access (before that SES sends to verified addresses alone), under SMTP settings click Create SMTP "
        "credentials. Fill in the host that is shown there, `port: 587`, and the two credentials. Set `per_minute` to "
        "60 times the sending rate that the dashboard shows.",
        "Put the people, or better the mailing list of their team, into `recipients`, and send a test. Each of them "
        "should add the address in `sender` to their contacts. Filters can use the headers X-Alert-Severity and "
        "X-Stormweir-Incident.",
    ),
    help={
        "tls": Help(
            "The server's TLS certificate is not valid, or it does not speak TLS on this port.",
            "Port 465 speaks TLS at once, 587 after STARTTLS. Check the certificate's name, expiry and authority; an "
            "authority of your own belongs into this machine's trust store.",
        ),
        "reset": Help("The connection broke, or the answer was not SMTP.", "Check that the port speaks SMTP."),
        "no_starttls": Help(
            "The server offers no encryption, and nothing was sent.",
            "Use port 465 with `security: tls`; for a relay inside your network `security: none`.",
        ),
        "tls_needed": Help("The server takes encrypted mail alone.", "Set `security: starttls`."),
        "no_login": Help(
            "The server offers no way to log in that fits the settings.",
            "Remove username and password if it needs none; use the `oauth_` fields if it takes XOAUTH2 alone.",
        ),
        "auth_failed": Help(
            "The server does not take username and password, or wants them and there are none.",
            "Put in the current ones. Gmail needs an app password, not that of the account.",
        ),
        "oauth_needed": Help(
            "The server takes no passwords any more (Exchange Online: 550 5.7.30).",
            "Register an application and fill in the `oauth_` fields; the steps above tell how.",
        ),
        "oauth_refused": Help(
            "The address in `oauth_token_url` gave no access token.",
            "Check client id, secret and scope. A client secret or refresh token may have expired: make a new one.",
        ),
        "server_refused": Help("The server takes no mail from here.", "Ask its administrators to allow this address."),
        "sender_refused": Help(
            "The server does not let this login send as the address in `sender`.",
            "Verify that address or domain with the mail service, or use the login's own address.",
        ),
        "recipient_refused": Help(
            "The server refuses a recipient for good, usually because there is no such mailbox.",
            "Correct the address in `recipients`. The other recipients got the mail.",
        ),
        "greylisted": Help(
            "The server puts a recipient off, as many do with senders that are new to them.",
            "Nothing: it is tried again, for that recipient alone. Have this sender's address allowed if it matters.",
        ),
        "too_large": Help("The mail is larger than the server takes.", "Set `attach_csv: false`."),
        "message_refused": Help(
            "The server refused the content, often as spam.", "Look at the server's log; have the sender allowed."
        ),
        "nobody_left": Help("All who are recipients now have the mail.", "Nothing."),
    },
    examples={
        "a relay of your own": {
            "type": "email",
            "host": "mail.example.com",
            "username": "stormweir",
            "password": "change-me",
            "sender": "Stormweir <alerts@example.com>",
            "recipients": ["platform-team@example.com"],
        },
        "Gmail, with the figures attached": {
            "type": "email",
            "host": "smtp.gmail.com",
            "port": 465,
            "username": "alerts@example.com",
            "password": "abcd efgh ijkl mnop",
            "sender": "Stormweir <alerts@example.com>",
            "recipients": ["ada@example.com", "grace@example.com"],
            "attach_csv": True,
        },
        "Exchange Online": {
            "type": "email",
            "host": "smtp.office365.com",
            "username": "alerts@example.com",
            "oauth_token_url": "https://login.microsoftonline.com/your-tenant-id/oauth2/v2.0/token",
            "oauth_client_id": "00000000-0000-0000-0000-000000000000",
            "oauth_client_secret": "change-me",
            "oauth_scope": "https://outlook.office365.com/.default",
            "sender": "Stormweir <alerts@example.com>",
            "recipients": ["platform-team@example.com"],
        },
    },
    digest=digest,
    concurrency=3,
    environment={
        "SMTP_HOST": "host",
        "SMTP_PORT": "port",
        "SMTP_USER": "username",
        "SMTP_PASSWORD": "password",
        "SMTP_FROM": "sender",
        "SMTP_TO": "recipients",
    },
    required=("SMTP_HOST", "SMTP_FROM", "SMTP_TO"),
)
