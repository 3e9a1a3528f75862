"""The HTTP application (RSGI): routes, and the checks of a request in their order.

Route, size, key (401), enabled (403), signature on the raw bytes (401), well-formedness (400), produce,
and 202 after the broker has acknowledged. Nothing of a refused request reaches Kafka.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import structlog
from granian._granian import RSGIProtocolClosed, RSGIProtocolError  # granian.rsgi has them without types

from schemas.alert import RawEvent
from schemas.codec import encode
from schemas.control import ApiKey, Control
from schemas.fingerprint import digest, uuid7, uuid_text
from streams.gateway import answers, auth
from streams.gateway.answers import Answer, Headers, Refusal
from streams.gateway.auth import Header, Sender
from streams.gateway.lanes import Lanes, TooLargeError, UnavailableError
from streams.gateway.metrics import GatewayMetrics
from streams.providers import PATH, PROVIDERS, QUERY, BadBody, Context, NoAlert, Provider, find
from streams.providers.events_v2 import Event

log = structlog.get_logger(__name__)

_NO_ROUTE: "tuple[str, Handler | None]" = ("none", None)
_NO_HEADERS: dict[str, str] = {}


class RequestHeaders(Protocol):
    """Granian's headers."""

    def get(self, key: str, default: Any = None) -> Any: ...


class Scope(Protocol):
    """What is used of an RSGI scope (https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md)."""

    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> RequestHeaders: ...


class Exchange(Protocol):
    """What is used of an RSGI HTTP protocol: call it for the body, iterate it for the body's pieces."""

    def __call__(self) -> Awaitable[bytes]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...


Handler = Callable[[Scope, Header, bytes], Awaitable[Answer]]


class Gateway:
    """`__rsgi__` answers requests; `drain` waits for those that are being answered."""

    def __init__(self, control: Control, lanes: Lanes, max_body: int, metrics: GatewayMetrics) -> None:
        self._control = control
        self._lanes = lanes
        self._max_body = max_body
        self._metrics = metrics
        self._busy = 0
        self._draining = False
        self._idle = asyncio.Event()
        events = find("events_v2")
        assert events is not None
        self._events: Provider[Event] = events
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v2/enqueue": (events.slug, self._enqueue),
            "/api/events": (events.slug, self._event),
        }
        for slug, provider in PROVIDERS.items():
            self._routes[f"/api/integrations/{slug}"] = (slug, self._webhook(provider))

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one HTTP request."""
        started = time.perf_counter()
        self._busy += 1
        slug, handler = self._routes.get(scope.path, _NO_ROUTE)
        try:
            try:
                answer = await self._answer(handler, scope, exchange)
            except Refusal as refusal:
                answer = refusal.answer
            except UnavailableError:
                answer = answers.UNAVAILABLE
            except TooLargeError:
                answer = answers.too_large(self._max_body)
            except (RSGIProtocolClosed, RSGIProtocolError):
                return  # the sender went away while sending
            except Exception:
                log.exception("a request failed", route=slug)
                answer = answers.FAILED
            exchange.response_bytes(answer.status, answer.headers, answer.body)
        finally:
            self._busy -= 1
            if self._draining and not self._busy:
                self._idle.set()
        self._metrics.answered(slug, answer.status, answer.reason, time.perf_counter() - started)

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    async def drain(self, timeout: float) -> None:
        """Refuse new requests with 503, and return when the ones being answered are, or after `timeout` s."""
        self._draining = True
        if self._busy:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout)

    async def _answer(self, handler: Handler | None, scope: Scope, exchange: Exchange) -> Answer:
        if handler is None:
            return answers.NOT_FOUND
        if scope.method != "POST":
            return answers.WRONG_METHOD
        header: Header = scope.headers.get
        length = header("content-length")
        if length is None or not length.isdecimal():
            body = await self._read(exchange)
        elif int(length) > self._max_body:
            return answers.too_large(self._max_body)
        else:
            body = await exchange()
        if self._draining:
            return answers.UNAVAILABLE
        return await handler(scope, header, body)

    async def _read(self, exchange: Exchange) -> bytes:
        """A body of unknown length, as far as the limit goes."""
        size, pieces = 0, []
        async for piece in exchange:
            size += len(piece)
            if size > self._max_body:
                raise Refusal(answers.too_large(self._max_body))
            pieces.append(piece)
        return b"".join(pieces)

    async def _enqueue(self, scope: Scope, header: Header, body: bytes) -> Answer:
        """PagerDuty's route: the key is in the Token header or, as the vendor has it, in the body."""
        provider, key = self._events, auth.token(header)
        event_id = uuid7()
        context = Context(event_id, {}, auth.NO_MAPPING)
        try:
            event = provider.decode(body, context)
        except BadBody as error:
            integration = auth.by_key(self._control, auth.key_in(body) if key is None else key)
            auth.check_signature(provider, integration, header, body)
            return answers.invalid_event(error.path, error.reason)
        integration = auth.by_key(self._control, event.routing_key if key is None else key)
        auth.check_signature(provider, integration, header, body)
        dedup_key = provider.order_key(event, context)
        await self._put(provider, integration, event_id, body, dedup_key)
        return answers.processed(dedup_key)

    async def _event(self, scope: Scope, header: Header, body: bytes) -> Answer:
        """The Events API with an integration's key or an API key; the dedup key is required."""
        provider, bearer = self._events, auth.bearer(header)
        sender: Sender | ApiKey
        if bearer is None:
            sender = auth.by_key(self._control, auth.token(header))
            auth.check_signature(provider, sender, header, body)
        else:
            sender = auth.by_api_key(self._control, bearer)
        event_id = uuid7()
        context = Context(event_id, {}, auth.NO_MAPPING)
        try:
            event = provider.decode(body, context)
            if not event.dedup_key:
                raise BadBody("dedup_key", "is required")
            if isinstance(sender, ApiKey):
                sender = auth.sender_by_service(self._control, sender, event.service_id)
        except BadBody as error:
            return answers.bad_body(error.path, error.reason)
        dedup_key = provider.order_key(event, context)
        await self._put(provider, sender, event_id, body, dedup_key)
        return answers.processed(dedup_key)

    def _webhook(self, provider: Provider[Any]) -> Handler:
        """The route of a provider's own format; the integration's id is its key."""

        async def answer(scope: Scope, header: Header, body: bytes) -> Answer:
            integration = auth.by_key(self._control, auth.integration_id(scope.query_string))
            if integration.type != provider.slug:
                return answers.UNAUTHORIZED
            auth.check_signature(provider, integration, header, body)
            event_id = uuid7()
            headers = _listed(provider, scope, header) if provider.headers else _NO_HEADERS
            context = Context(event_id, headers, integration.mapping)
            try:
                decoded = provider.decode(body, context)
            except NoAlert as silence:
                if silence.kind == "change":
                    return answers.NOT_STORED
                return answers.no_alert(silence.answer, silence.content_type)
            except BadBody as error:
                return answers.bad_body(error.path, error.reason)
            order_key = provider.order_key(decoded, context)
            await self._put(provider, integration, event_id, body, order_key, headers)
            return answers.accepted(uuid_text(event_id), None if provider.batch else order_key)

        return answer

    def _put(
        self,
        provider: Provider[Any],
        sender: Sender,
        event_id: bytes,
        body: bytes,
        order_key: str,
        headers: dict[str, str] = _NO_HEADERS,
    ) -> asyncio.Future[None]:
        """Done once Kafka has the request; everything with one order key is in one partition."""
        at = int.from_bytes(event_id[:6], "big")  # a UUIDv7 begins with its milliseconds
        event = RawEvent(sender.tenant, sender.service, sender.id, provider.slug, event_id, at, body, headers)
        return self._lanes.put(digest(sender.id, order_key), encode(event), at)


def _listed(provider: Provider[Any], scope: Scope, header: Header) -> dict[str, str]:
    """What the provider wants to know of a request besides its body."""
    known = {QUERY: scope.query_string, PATH: scope.path}
    found = ((name, known[name] if name in known else header(name)) for name in provider.headers)
    return {name: value for name, value in found if value is not None}
