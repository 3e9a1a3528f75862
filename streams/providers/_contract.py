"""What a provider is: the shapes that the gateway, the normalize stage and every provider share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec

from schemas.control import DEFAULT_RATE_LIMIT, FieldMapping, RateLimit
from schemas.fingerprint import digest
from schemas.text import LENIENT
from schemas.wire.alert import Action, RawEvent, Severity
from schemas.wire.severity import SEVERITY_NAMES, severity_of
from streams.policy.signature import Signature

#: PagerDuty's limits, applied to every provider: longer summaries are cut, longer keys hashed.
SUMMARY_LIMIT = 1024
DEDUP_KEY_LIMIT = 255
SUMMARY_CUT = "summary_truncated"
#: Names in `Provider.headers` that are not headers: the raw query string and the path of the request.
QUERY = ":query"
PATH = ":path"
MAX_FIELDS = 100

T = TypeVar("T")


class BadBody(ValueError):  # noqa: N818 - it is the body that is bad
    """A body that its provider would not send. `path` is the field, dotted (`alerts.0.status`), or `body`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


#: Why a valid request carries no alert; `change` is a change event, which never opens an alert.
Silence = Literal["test", "ignored", "handshake", "change"]
#: See Provider.key_scope.
KeyScope = Literal["global", "installation"]
#: See Provider.retries.
Retried = Literal[429, 503]


class Change(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A change as its provider describes it: `schemas.wire.change.ChangeEvent` without identity.

    `summary` has 1 to 1024 characters; `details` is JSON text or empty; `at` is milliseconds UTC, 0 for none.
    """

    summary: str
    source: str
    details: bytes = b""
    links: list[dict[str, str]] = []
    at: int = 0


class NoAlert(Exception):  # noqa: N818 - the request is right, there is just no alert in it
    """Raised by `decode` for a valid request without an alert. `answer` is the body to answer with.

    `callback` is the URL that must be visited to finish a handshake, already checked by the provider, or "". `change`
    is the change in a request of the kind `change`, to be stored before the request is answered.
    """

    def __init__(
        self,
        kind: Silence,
        answer: bytes = b"",
        content_type: str = "application/json",
        callback: str = "",
        change: Change | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind: Silence = kind
        self.answer = answer or b'{"status":"%b"}' % kind.encode()
        self.content_type = content_type
        self.callback = callback
        self.change = change


class Draft(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One alert as its provider describes it: the fields of `schemas.wire.alert.Alert` without identity and origin.

    `summary` has at most 1024 characters (a cut one is marked by the label `summary_truncated`), `dedup_key` 1 to 255;
    `details` is JSON text or empty; times are milliseconds UTC, 0 for none. `starts_at` and `ends_at` are shown to
    people and are not used for ordering: vendors fill them with creation times. `sent_at` is set only if the vendor's
    field is the time of this state change by the vendor's clock: an older one after a newer resolve is out of order.
    `began_at` is set only if trigger and resolve of one episode carry the same start: a trigger that repeats it just
    after the resolve is a straggler.
    """

    dedup_key: str
    action: Action
    severity: Severity
    summary: str
    source: str
    component: str = ""
    group: str = ""
    class_: str = ""
    labels: dict[str, str] = {}
    details: bytes = b""
    links: list[dict[str, str]] = []
    starts_at: int = 0
    ends_at: int = 0
    sent_at: int = 0
    began_at: int = 0


class Context(NamedTuple):
    """What a provider may read besides the body. `headers` are those it lists, names in lower case.

    Everything is read from the headers, which are stored with the body, so a replay parses the same.
    """

    event_id: bytes
    headers: Mapping[str, str]
    mapping: FieldMapping

    @property
    def content_type(self) -> str:
        """The content type as it was sent, if the provider lists that header."""
        return self.headers.get("content-type", "")

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the query, decoded, if the provider lists QUERY; of equal names the last wins."""
        try:
            return dict(parse_qsl(self.headers.get(QUERY, ""), errors=LENIENT, max_num_fields=MAX_FIELDS))
        except ValueError:
            raise BadBody("query", f"has more than {MAX_FIELDS} parameters") from None

    def severity(self, word: str) -> Severity:
        """The severity for a vendor's word; the integration's default if the word is empty or unknown."""
        return severity_of(word) or SEVERITY_NAMES[self.mapping.default_severity]


class Example(NamedTuple):
    """A body as the vendor sends it, and the (action, dedup key) of each alert in it, or why there is none."""

    body: bytes
    alerts: tuple[tuple[Action, str], ...]
    headers: Mapping[str, str] = {}
    silence: Silence | None = None


class Address(NamedTuple):
    """A path that the vendor's own clients use, and the header in which they send the key, up to the key."""

    path: str
    key_header: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Generic[T]):
    """Everything about one sender of alerts.

    `decode` validates a body and raises nothing but BadBody and NoAlert; `parse` is pure and never fails on what
    `decode` returned; `order_key` names what must stay in order: the dedup key of a single event, the group of a
    `batch` (one request, many alerts). `slug` is the permanent name in URLs, records and files. `headers` are what
    these functions need of the request, in lower case, QUERY and PATH among them.

    `signature` is how the vendor signs once a secret is set; a vendor that cannot sign (`can_sign` is False) needs only
    an API key, until its integration requires more. `methods` are the HTTP methods that it uses; with OPTIONS, a
    CloudEvents sender asks whether its events are wanted. `addresses` are paths besides the one that every provider
    has; the tool sends to the first of them, unless `prefers_webhook` says that it usually has the webhook's URL.

    `setup` is what to click in the tool, step by step; `fields` says which of an alert's fields come from which of the
    vendor's (Markdown; the first field with a value counts); `severity_note` says how its severities become ours.
    `key_scope` says whether one dedup key from two integrations of a service means one alert ("global"), or whether the
    vendor's ids count inside one installation only ("installation"); `key_reason` says why, in a sentence without a
    full stop. `retries` are those of 429 and 503 after which the tool sends a request again, for at least the minute
    that Retry-After may name; `retries_note` says what the tool does, and the source of that.
    """

    slug: str
    title: str
    docs_url: str
    decode: Callable[[bytes, Context], T]
    parse: Callable[[T, Context], list[Draft]]
    order_key: Callable[[T, Context], str]
    headers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("POST",)
    batch: bool = False
    signature: Signature | None = None
    can_sign: bool = True
    addresses: tuple[Address, ...] = ()
    prefers_webhook: bool = False
    setup: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    severity_note: str = ""
    key_scope: KeyScope
    key_reason: str
    retries: tuple[Retried, ...]
    retries_note: str
    examples: tuple[Example, ...] = ()

    @property
    def rate_limit(self) -> RateLimit:
        """The limit of an integration that sets none: a tool that does not retry after 429 has no limit."""
        return DEFAULT_RATE_LIMIT if 429 in self.retries else "unlimited"

    def drafts(self, raw: RawEvent, mapping: FieldMapping) -> list[Draft]:
        """The alerts inside an accepted request, in the body's order. Raises BadBody, nothing else."""
        context = Context(raw.event_id, raw.headers, mapping)
        try:
            return self.parse(self.decode(raw.body, context), context)
        except NoAlert:
            return []


def as_decoded(drafts: list[Draft], context: Context) -> list[Draft]:
    """`parse` of a provider whose `decode` returns drafts."""
    return drafts


def first_key(drafts: list[Draft], context: Context) -> str:
    """`order_key` of a provider whose `decode` returns one draft."""
    return drafts[0].dedup_key


def joined_key(*parts: str) -> str:
    r"""One dedup key of several parts: readable, and no two distinct tuples of parts share one.

    A bar inside a part is escaped, so the number of parts is part of the key; a long key is hashed.

    >>> joined_key("monitor", "a|b"), joined_key("monitor", "a", "b")
    ('monitor|a\\|b', 'monitor|a|b')
    """
    key = "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
    return key if 0 < len(key) <= DEDUP_KEY_LIMIT else digest(*parts).hex()


def short_key(key: str) -> str:
    """The dedup key as it is stored: itself up to 255 characters, else its hash in hexadecimal."""
    return key if len(key) <= DEDUP_KEY_LIMIT else digest(key).hex()


def short_summary(summary: str, labels: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The summary cut at 1024 characters, and the labels, with a label that says so if it was cut."""
    if len(summary) <= SUMMARY_LIMIT:
        return summary, labels
    return summary[:SUMMARY_LIMIT], {**labels, SUMMARY_CUT: str(len(summary))}


def make_draft(
    *,
    dedup_key: str,
    action: Action,
    severity: Severity,
    summary: str,
    source: str,
    details: bytes,
    labels: dict[str, str] | None = None,
    component: str = "",
    group: str = "",
    class_: str = "",
    links: list[dict[str, str]] | None = None,
    starts_at: int = 0,
    ends_at: int = 0,
    sent_at: int = 0,
    began_at: int = 0,
) -> Draft:
    """A draft within the limits: the summary is trimmed and cut; only a resolve has an end."""
    summary, labels = short_summary(summary.strip(), labels or {})
    return Draft(
        dedup_key=dedup_key,
        action=action,
        severity=severity,
        summary=summary,
        source=source,
        component=component,
        group=group,
        class_=class_,
        labels=labels,
        details=details,
        links=links or [],
        starts_at=starts_at,
        ends_at=ends_at if action is Action.RESOLVE else 0,
        sent_at=sent_at,
        began_at=began_at,
    )
