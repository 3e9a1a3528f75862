"""The declaration of a channel. The delivery engine, the catalogue, forms, docs and tests read nothing else of it.

A channel is one module in sinks/channels with a `CHANNEL`. Its functions are pure: `render` makes requests for HTTP or
mails for SMTP, `classify` reads an answer. The engine (sinks/outbox) sends, waits, retries and remembers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from enum import StrEnum
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from schemas.control import Destination
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident
from schemas.wire.notification import Notification, Transition
from sinks.outbound import Answer, ErrorCode


class RenderError(ValueError):
    """The destination's settings do not allow a request; the text is a short reason without any setting's value."""


class Message(NamedTuple):
    """What is to be told about one incident.

    `told` are all changes since the last message, oldest first; the last one is the notification's own. `base_url` is
    the beginning of links, without a slash at its end. `now` is the time of the attempt, milliseconds. `test` marks a
    message that somebody sends to try the destination; its incident is made up. `reached` are the recipients that have
    this message already, from earlier attempts.
    """

    id: str
    notification: Notification
    told: tuple[Transition, ...]
    base_url: str
    now: int
    test: bool = False
    reached: tuple[str, ...] = ()

    @property
    def incident(self) -> Incident:
        """The incident's state at the newest change."""
        return self.notification.incident


class Digest(NamedTuple):
    """One message in place of many: `total` incidents changed; `incidents` are the worst of them, worst first."""

    id: str
    total: int
    by_severity: Mapping[Severity, int]
    resolved: int
    incidents: Sequence[Incident]
    base_url: str
    now: int


class Rate(NamedTuple):
    """A vendor's limit: `scope` names what it counts for (never a secret), `per_second` refills a bucket of `burst`."""

    scope: str
    per_second: float
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Request:
    """One POST that falls under `rates`. Its repr is empty: URL, headers and body may all contain secrets.

    `instead` is sent in its place when the vendor refuses it alone (`REFUSED`, not `broken`): a simpler form of it.
    """

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    rates: Sequence[Rate] = ()
    instead: "Request | None" = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class MailServer:
    """An SMTP server as a destination names it. Equal servers share connections.

    `security` is `starttls` (nothing is sent without it), `tls` (from the first byte) or `none` (allowed networks
    only). With `oauth_token_url` the login is XOAUTH2: the password is a refresh token, or empty, and then the client's
    own secret is enough for an access token with `oauth_scope`.
    """

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str = ""
    password: str = field(default="", repr=False)
    oauth_token_url: str = ""
    oauth_client_id: str = ""
    oauth_client_secret: str = field(default="", repr=False)
    oauth_scope: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """One message for an SMTP server, to each of `recipients`. The body of its answer is a Receipt in JSON."""

    server: MailServer
    sender: str
    recipients: Sequence[str]
    message: EmailMessage = field(repr=False)
    rates: Sequence[Rate] = ()


class Receipt(msgspec.Struct, frozen=True):
    """How far a mail came: the stage of the server's last reply, the reply's text, and each recipient's code and text.

    The status of the answer is the code of that reply, 0 if the server does not offer what the stage needs.
    """

    stage: Literal["greeting", "starttls", "oauth", "auth", "sender", "recipients", "data"]
    text: str = ""
    recipients: dict[str, tuple[int, str]] = {}


class End(StrEnum):
    """How a request ended: it is done, the same may be tried again, or it can never succeed."""

    DONE = "done"
    RETRY = "retry"
    REFUSED = "refused"


class Verdict(NamedTuple):
    """How a request ended, with a short reason by Stormweir: a key of the channel's `help`, perhaps ": " and details.

    What is done has no reason, or one that says whom it did not reach. `broken` says that nothing can reach this
    destination until somebody changes its settings or the vendor's. `retry_after_s` is what the answer asks for, in
    its header or in its body. `reached` are the recipients that have the message, when it is tried again for others.
    """

    end: End
    reason: str = ""
    broken: bool = False
    retry_after_s: float | None = None
    reached: tuple[str, ...] = ()


DONE = Verdict(End.DONE)


class Help(NamedTuple):
    """What a reason means, and what to do; both are sentences for people."""

    means: str
    do: str


class Retry(NamedTuple):
    """When a failed message is tried again: `attempts` in all, and until `deadline_s` after the first change.

    The pause after attempt n is `base_s * 2**(n-1)` seconds, at most `most_s`, times a factor drawn from `spread`;
    from 0 to 1 is what is called full jitter.
    """

    attempts: int
    deadline_s: int
    base_s: float
    most_s: float
    spread: tuple[float, float] = (0.0, 1.0)


#: The seeds' three retries, 1, 2 and 4 s apart, each up to 20 % longer or shorter.
THREE_RETRIES = Retry(attempts=4, deadline_s=86_400, base_s=1, most_s=4, spread=(0.8, 1.2))
#: A page is worth trying for 15 minutes, then somebody else must hear of it.
PAGE = Retry(attempts=1_000, deadline_s=900, base_s=2, most_s=60)
#: What is not urgent is tried for a day.
PATIENT = Retry(attempts=1_000, deadline_s=86_400, base_s=5, most_s=900)

S = TypeVar("S", bound=Destination)


@dataclass(frozen=True, slots=True)
class Channel(Generic[S]):
    """A way to notify people. `slug` is the name of its module and the `type` of its destinations.

    `render(message, settings, handle)` makes the requests or mails of a message, sent in this order; one that fails is
    repeated with those before it, so all but the last must be idempotent. `handle` is what `keep` read from the answer
    to the incident's first message, or later to an `instead`; "" before that. `digest` renders a summary; None: the
    channel has none. `setup` are the steps in the vendor's pages, `help` the reasons beside COMMON_HELP, `retry` the
    policy for high and low urgency, `concurrency` how many messages of a destination may be under way. `environment`
    names the fields that environment variables set (variable: field), of which `required` must be there for the
    destination to exist.
    """

    slug: str
    title: str
    settings: type[S]
    render: Callable[[Message, S, str], Sequence[Request | Mail]]
    classify: Callable[[Answer], Verdict]
    setup: Sequence[str]
    examples: Mapping[str, Mapping[str, object]]
    digest: Callable[[Digest, S], Sequence[Request | Mail]] | None = None
    keep: Callable[[Answer], str] | None = None
    help: Mapping[str, Help] = field(default_factory=dict)
    retry: tuple[Retry, Retry] = (PAGE, PATIENT)
    concurrency: int = 8
    environment: Mapping[str, str] = field(default_factory=dict)
    required: Sequence[str] = ()


def no_answer(answer: Answer) -> Verdict | None:
    """The verdict on a request without an answer; None if there is one."""
    match answer.error_code:
        case None:
            return None
        case ErrorCode.BLOCKED_TARGET | ErrorCode.INVALID_REQUEST as code:
            return Verdict(End.REFUSED, code, broken=True)
        case code:
            return Verdict(End.RETRY, code)


def by_status(answer: Answer) -> Verdict:
    """The verdict by HTTP status alone: 2xx is done, temporary errors are tried again, the rest is refused."""
    if (silent := no_answer(answer)) is not None:
        return silent
    status, wait = answer.status, answer.retry_after_s
    if 200 <= status < 300:
        return DONE
    if status == 429:
        return Verdict(End.RETRY, "rate_limited", retry_after_s=wait)
    if status in {408, 425} or status >= 500:
        return Verdict(End.RETRY, "unavailable", retry_after_s=wait)
    if status < 400:
        return Verdict(End.REFUSED, "redirected", broken=True)
    if status in {401, 403}:
        return Verdict(End.REFUSED, "unauthorized", broken=True)
    reasons = {404: "not_found", 405: "post_not_accepted", 410: "gone"}
    return Verdict(End.REFUSED, reasons.get(status, "rejected"), broken=status in {404, 405, 410})


COMMON_HELP: Mapping[str, Help] = {
    "refused": Help("Nothing listens at this address.", "Check host and port, and that the receiver runs."),
    "dns": Help("The host's name is not known.", "Check the name's spelling and the resolver of this machine."),
    "timeout": Help("No connection in 5 s, or no answer in 30 s.", "Check firewalls, and that the receiver answers."),
    "tls": Help("The TLS certificate is not valid.", "Check its name, its expiry and its authority."),
    "reset": Help("The connection broke, or the answer was not HTTP.", "Check that the port speaks HTTP or HTTPS."),
    "blocked_target": Help(
        "The address is private and not allowed.",
        "Add its network to STORMWEIR_ALLOWED_NETWORKS if it is yours.",
    ),
    "invalid_request": Help("The address cannot be requested.", "Check the URL."),
    "rate_limited": Help("The receiver takes no more for now.", "Nothing: it is sent when the receiver allows it."),
    "unavailable": Help("The receiver has a failure of its own.", "Nothing, unless it lasts: it is tried again."),
    "redirected": Help("The address redirects to another one.", "Use the final URL; redirects are not followed."),
    "unauthorized": Help("The credentials are wrong or expired.", "Put in the current key, token or password."),
    "not_found": Help("There is nothing at this address.", "Copy the URL again; the receiver may have been deleted."),
    "post_not_accepted": Help("The address does not take POST requests.", "Check the URL's path."),
    "gone": Help("The receiver was removed for good.", "Make a new one and put in its address."),
    "rejected": Help("The receiver does not take this message.", "Look at `http_status`, then at the receiver's log."),
    "channel_error": Help("The channel failed; this is a defect of Stormweir.", "Please report the log line."),
}

#: Why a message was not sent, though nothing failed.
SKIP_HELP: Mapping[str, Help] = {
    "superseded": Help(
        "A later change of the incident was told in the same message.", "Nothing: look at the next row of the incident."
    ),
    "digest": Help(
        "A summary told it together with others.", "Nothing; `digest_after` decides when there are summaries."
    ),
    "resolved_before_sent": Help(
        "The incident resolved before its first message left.", "Nothing; `unseen_resolved` set to send tells it."
    ),
    "unknown_destination": Help(
        "A rule routes to a destination that was deleted.", "Make the destination again, or change the rule's `route`."
    ),
}
