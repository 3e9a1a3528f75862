"""The HTTP application (RSGI): routes, and the checks of a request in their order.

Route, size, key (401), enabled (403), signature on the raw bytes (401), well-formedness (400), produce,
and 202 after the broker has acknowledged. Nothing of a refused request reaches Kafka.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import structlog
from granian._granian import RSGIProtocolClosed, RSGIProtocolError  # granian.rsgi has them without types

from schemas.alert import RawEvent
from schemas.codec import encode
from schemas.control import Control
from schemas.fingerprint import digest, uuid7, uuid_text
from streams.gateway import answers, auth
from streams.gateway.answers import Answer, Headers, Refusal
from streams.gateway.auth import Header, Sender
from streams.gateway.lanes import Lanes, TooLargeError, UnavailableError
from streams.gateway.metrics import GatewayMetrics
from streams.providers import PROVIDERS, BadBody, Context, Provider, find
from streams.providers.events_v2 import Event

log = structlog.get_logger(__name__)


class RequestHeaders(Protocol):
    """Granian's headers."""

    def get(self, key: str, default: Any = None) -> Any: ...


class Scope(Protocol):
    """What is used of an RSGI scope (https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md)."""

    proto: str
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


class Request(NamedTuple):
    """One request whose body was read."""

    event_id: bytes
    at: int
    query: str
    header: Header
    body: bytes


Handler = Callable[[Request], Awaitable[Answer]]


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
        slug, handler = self._routes.get(scope.path, ("none", None))
        try:
            try:
                answer = await self._answer(handler, scope, exchange)
            except Refusal as refusal:
                answer = refusal.answer
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
        if handler is None or scope.proto != "http":
            return answers.NOT_FOUND
        if scope.method != "POST":
            return answers.WRONG_METHOD
        header: Header = scope.headers.get
        body = await self._read(header, exchange)
        if self._draining:
            return answers.UNAVAILABLE
        at = int(time.time() * 1000)
        return await handler(Request(uuid7(at), at, scope.query_string, header, body))

    async def _read(self, header: Header, exchange: Exchange) -> bytes:
        length = header("content-length")
        if length is not None and length.isdecimal():
            if int(length) > self._max_body:
                raise Refusal(answers.too_large(self._max_body))
            return await exchange()
        size, pieces = 0, []
        async for piece in exchange:
            size += len(piece)
            if size > self._max_body:
                raise Refusal(answers.too_large(self._max_body))
            pieces.append(piece)
        return b"".join(pieces)

    async def _enqueue(self, request: Request) -> Answer:
        """PagerDuty's route: the key is in the Token header or, as the vendor has it, in the body."""
        provider = self._events
        key = auth.token(request.header)
        context = Context(request.event_id, {}, auth.NO_MAPPING)
        try:
            event = provider.decode(request.body, context)
            error = None
        except BadBody as bad:
            event, error = None, bad
        if key is None:
            key = event.routing_key if event is not None else auth.key_in(request.body)
        integration = auth.by_key(self._control, key)
        auth.check_signature(integration, request.header, request.body)
        if event is None:
            assert error is not None
            return answers.invalid_event(error.path, error.reason)
        dedup_key = provider.order_key(event, context)
        await self._produce(provider, auth.sender_of(integration), request, dedup_key)
        return answers.processed(dedup_key)

    async def _event(self, request: Request) -> Answer:
        """The Events API with an integration's key or an API key; the dedup key is required."""
        provider = self._events
        bearer = auth.bearer(request.header)
        if bearer is None:
            integration = auth.by_key(self._control, auth.token(request.header))
            auth.check_signature(integration, request.header, request.body)
            sender = auth.sender_of(integration)
        else:
            api_key = auth.by_api_key(self._control, bearer)
        context = Context(request.event_id, {}, auth.NO_MAPPING)
        try:
            event = provider.decode(request.body, context)
            if not event.dedup_key:
                raise BadBody("dedup_key", "is required")
            if bearer is not None:
                sender = auth.sender_by_service(self._control, api_key, event.service_id)
        except BadBody as error:
            return answers.bad_body(error.path, error.reason)
        dedup_key = provider.order_key(event, context)
        await self._produce(provider, sender, request, dedup_key)
        return answers.processed(dedup_key)

    def _webhook(self, provider: Provider[Any]) -> Handler:
        """The route of a provider's own format; the integration's id is its key."""

        async def answer(request: Request) -> Answer:
            integration = auth.by_key(self._control, auth.integration_id(request.query))
            if integration.type != provider.slug:
                return answers.UNAUTHORIZED
            auth.check_signature(integration, request.header, request.body)
            sender = auth.sender_of(integration)
            headers = {name: value for name in provider.headers if (value := request.header(name)) is not None}
            context = Context(request.event_id, headers, sender.mapping)
            try:
                decoded = provider.decode(request.body, context)
            except BadBody as error:
                return answers.bad_body(error.path, error.reason)
            order_key = provider.order_key(decoded, context)
            await self._produce(provider, sender, request, order_key, headers)
            return answers.accepted(uuid_text(request.event_id), None if provider.batch else order_key)

        return answer

    async def _produce(
        self,
        provider: Provider[Any],
        sender: Sender,
        request: Request,
        order_key: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Return once Kafka has the request; everything with one order key is in one partition."""
        event = RawEvent(
            sender.tenant,
            sender.service,
            sender.integration,
            provider.slug,
            request.event_id,
            request.at,
            request.body,
            headers or {},
        )
        try:
            await self._lanes.put(digest(sender.integration, order_key), encode(event), request.at)
        except UnavailableError:
            raise Refusal(answers.UNAVAILABLE) from None
        except TooLargeError:
            raise Refusal(answers.too_large(self._max_body)) from None
