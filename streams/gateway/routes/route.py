"""The base class of routes, and a request while it is checked."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from schemas.control import SignaturePolicy
from schemas.fingerprint import uuid7, uuid_text
from schemas.text import foreign_charset, in_utf8
from schemas.wire.alert import RawEvent
from schemas.wire.verdict import Verdict
from streams.gateway import answers
from streams.gateway.answers import Answer
from streams.gateway.auth import Directory, Proof, key_and_rest
from streams.gateway.body import decoded
from streams.gateway.rsgi import Scope
from streams.gateway.senders import NO_MAPPING, Sender, installation
from streams.policy.signature import GENERAL, Header, SnsCertificate
from streams.providers import PATH, QUERY, Context, NoAlert, Provider, is_form

NO_HEADERS: dict[str, str] = {}


class Request:
    """What is known of a request so far: its body after reading, its sender after identification.

    `sent` is the body as it was sent, of `size` bytes, `body` the decoded body; `mark` is the same for all copies of a
    request with a signed time. `headers` are those that its provider reads besides the body, and `context` passes them
    to the provider. `decoded` is the event, or the exception, if a route had to decode the body to find the key.
    """

    __slots__ = (
        "_body",
        "_limit",
        "context",
        "decoded",
        "event_id",
        "header",
        "headers",
        "mark",
        "scope",
        "sender",
        "sent",
        "size",
        "started",
    )

    def __init__(self, scope: Scope, limit: int) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self.header: Header = scope.headers.get
        self.event_id = uuid7()
        self.headers = NO_HEADERS
        self.context = Context(self.event_id, NO_HEADERS, NO_MAPPING)
        self.sent = b""
        self.size = 0
        self.mark = b""
        self._body: bytes | None = None
        self._limit = limit
        self.sender: Sender | None = None
        self.decoded: Any = None

    @property
    def body(self) -> bytes:
        """The body without its content encoding, and in UTF-8 if it declares another charset; computed on first use.

        Refuses as `body.decoded` does.
        """
        if self._body is None:
            body = decoded(self.sent, self.header("content-encoding"), self._limit)
            # ASCII text is the same in every charset, except in charsets that write it with zero bytes.
            self._body = body if body.isascii() and b"\0" not in body else self._in_utf8(body)
        return self._body

    def _in_utf8(self, body: bytes) -> bytes:
        """The body converted from its declared charset. A form stays as it is: its reader decodes its escapes."""
        content_type = self.header("content-type")
        if content_type is None or is_form(content_type):
            return body
        charset = foreign_charset(content_type)
        return body if charset is None else in_utf8(body, charset)

    def raw(self, provider: str, at: int) -> RawEvent:
        """The request as a record for Kafka, received `at` (ms). Drops the body: the request may wait for a verdict."""
        sender = self.sender
        assert sender is not None
        event = RawEvent(
            sender.tenant,
            sender.service,
            sender.id,
            provider,
            self.event_id,
            at,
            self.body,
            self.headers,
            sender.mapping.wire,
            installation(sender),
        )
        self.sent, self._body, self.decoded = b"", None, None
        return event

    @property
    def id(self) -> str:
        """The event id as text."""
        return uuid_text(self.event_id)

    @property
    def took(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self.started


class Route(ABC):
    """How requests of one provider at one address are identified, read and answered.

    `address` is the path without the parts that a sender chooses; `policy` says when requests must be signed, unless
    the integration says otherwise; `wait` is how many seconds requests wait for the stream's verdict, unless they say
    how long (`Prefer: wait=N`). Routes that are not `limited` have no rate limits.
    """

    address = ""
    limited = True
    policy: SignaturePolicy = "if_secret_set"
    wait = 0
    #: How a message that contains its own signature is verified; `proofs` is not called then.
    certificate: SnsCertificate | None = None

    def __init__(self, provider: Provider[Any], directory: Directory) -> None:
        self.provider = provider
        self.methods = provider.methods
        self._directory = directory
        self._scheme = provider.signature or GENERAL

    @property
    def wrong_method(self) -> Answer:
        """405 with the methods that are answered here."""
        return answers.wrong_method(self.methods)

    @abstractmethod
    def identify(self, request: Request) -> Sender:
        """The sender of a request. Refuses with 401, or 403 without the scope."""

    def proofs(self, sender: Sender) -> Sequence[Proof]:
        """The proofs that may sign a request of this sender; none if no secret is set."""
        secret = sender.signature_secret
        return () if secret is None else ((self._scheme, secret),)

    def decode(self, request: Request) -> Any:
        """The body as the provider reads it; sets the request's context. Raises BadBody and NoAlert."""
        assert request.sender is not None
        if self.provider.headers:
            request.headers = self._listed(request)
        request.context = Context(request.event_id, request.headers, request.sender.mapping)
        return self.provider.decode(request.body, request.context)

    def accepted(self, request: Request, order_key: str) -> Answer:
        """The answer once Kafka has the request."""
        return answers.accepted(request.id, None if self.provider.batch else order_key)

    def judged(self, answer: Answer, verdict: Verdict) -> Answer:
        """The answer of `accepted` with the stream's verdict, if that came in time."""
        return answers.judged(answer, verdict)

    def silent(self, request: Request, silence: NoAlert) -> Answer:
        """The answer to a valid request without an alert: 202 for a change, which is stored, else 200."""
        status = 200 if silence.change is None else 202
        return answers.no_alert(silence.answer, silence.content_type, status)

    def refused(self, request: Request, answer: Answer) -> Answer:
        """Any refusal, in the form that this route's clients read."""
        return answer

    def path(self, request: Request) -> str:
        """The path that the provider reads, percent-encoded as it was sent."""
        return request.scope.path

    def _listed(self, request: Request) -> dict[str, str]:
        """The headers that the provider lists, QUERY and PATH among them. A key in the query is not kept."""
        found: dict[str, str] = {}
        for name in self.provider.headers:
            if name == QUERY:
                if query := key_and_rest(request.scope.query_string)[1]:
                    found[name] = query
            elif name == PATH:
                found[name] = self.path(request)
            elif (value := request.header(name)) is not None:
                found[name] = value
        return found
