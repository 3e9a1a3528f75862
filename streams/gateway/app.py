"""The HTTP application (RSGI): the checks of a request in their order.

Route, method, size, key (401), enabled (403), rate limit (429), signature on the raw bytes (401), well-formedness
(400), produce, and 202 after the broker has acknowledged. No part of a refused request reaches `alerts.raw`. What each
route requires and answers is in streams.gateway.routes.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import structlog
from granian._granian import RSGIProtocolClosed, RSGIProtocolError  # granian.rsgi exports them without types

from schemas.control import Integration
from schemas.fingerprint import digest
from schemas.wire.codec import encode
from streams.control.state import Control
from streams.gateway import answers, auth, changes
from streams.gateway.answers import Answer, Refusal
from streams.gateway.auth import Directory
from streams.gateway.body import Reader
from streams.gateway.commands import Commands
from streams.gateway.lanes import NO_HEADERS, Headers, Lanes, TooLargeError, UnavailableError
from streams.gateway.limits import Buckets, claims_of
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.pages import Page
from streams.gateway.rejections import Rejections
from streams.gateway.replays import Replays
from streams.gateway.routes import CATALOGUE, Request, Route, Routes, trimmed
from streams.gateway.rsgi import Exchange, Scope
from streams.gateway.senders import Sender, rate_limit
from streams.gateway.sns import Sns
from streams.gateway.verdicts import Verdicts, preference
from streams.policy.signature import SignedMessage
from streams.providers import BadBody, NoAlert

log = structlog.get_logger(__name__)


class Gateway:
    """`__rsgi__` answers requests; `drain` waits for those in progress; `commands` takes commands on incidents."""

    def __init__(
        self,
        control: Control,
        lanes: Lanes,
        changes: Lanes,
        verdicts: Verdicts,
        commands: Commands,
        sns: Sns,
        reader: Reader,
        rejections: Rejections,
        metrics: GatewayMetrics,
        catalogue: bytes,
        pages: Mapping[str, Page],
    ) -> None:
        self.routes = Routes(Directory(control))
        self.commands = commands
        self._lanes = lanes
        self._changes = changes
        self._verdicts = verdicts
        self._sns = sns
        self._reader = reader
        self._control = control
        self._buckets = Buckets()
        self._replays = Replays()
        self._rejections = rejections
        self._metrics = metrics
        self._catalogue = answers.document(catalogue)
        self._pages = pages
        self._busy = 0
        self._draining = False
        self._idle = asyncio.Event()

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one HTTP request."""
        self._busy += 1
        request = Request(scope, self._reader.limit)
        route = self.routes.find(scope.path)
        try:
            try:
                answer = (
                    await self._page(request, exchange)
                    if route is None
                    else await self._accept(route, request, exchange)
                )
            except Refusal as refusal:
                answer = refusal.answer
                request.sender = refusal.sender or request.sender
            except UnavailableError:
                answer = answers.UNAVAILABLE
            except TooLargeError as error:
                answer = answers.too_large_for_topic(error.limit)
            except (RSGIProtocolClosed, RSGIProtocolError):
                return  # the sender went away while sending
            except Exception:
                log.exception("a request failed", route="none" if route is None else route.provider.slug)
                answer = answers.FAILED
            if answer.reason:
                answer = self._refuse(route, request, answer)
            exchange.response_bytes(answer.status, answer.headers, answer.body)
        finally:
            self._reader.release(request.size)
            self._busy -= 1
            if self._draining and not self._busy:
                self._idle.set()
        slug = "none" if route is None else route.provider.slug
        self._metrics.answered(slug, answer.status, answer.reason, request.took)

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    async def drain(self, timeout: float) -> None:
        """Refuse new requests with 503, and return when the requests in progress are answered, or after `timeout` s."""
        self._draining = True
        self._verdicts.release()
        if self._busy:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout)

    async def _page(self, request: Request, exchange: Exchange) -> Answer:
        """The answer to a path without a route: the catalogue of providers, a page, or a refusal."""
        path, method = trimmed(request.scope.path), request.scope.method
        if path == CATALOGUE:
            return self._catalogue if method in ("GET", "HEAD") else answers.wrong_method(("GET", "HEAD"))
        page = self._pages.get(path)
        if page is None:
            return answers.NOT_FOUND
        if method not in page.methods:
            return answers.wrong_method(page.methods)
        request.sent = await self._reader.read(request.header, exchange)
        request.size = len(request.sent)
        return answers.UNAVAILABLE if self._draining else await page.answer(request)

    async def _accept(self, route: Route, request: Request, exchange: Exchange) -> Answer:
        """Check the request step by step, and put it on Kafka. Raises Refusal, UnavailableError and TooLargeError."""
        method = request.scope.method
        if method not in route.methods:
            return route.wrong_method
        request.sent = await self._reader.read(request.header, exchange)
        request.size = len(request.sent)
        if self._draining:
            return answers.UNAVAILABLE
        sender = request.sender = route.identify(request)
        if not sender.enabled:
            return answers.DISABLED
        claims = claims_of(sender, self._control.tenants.get(sender.tenant)) if route.limited else ()
        if claims and (wait := self._buckets.wait(claims, time.monotonic())):
            return answers.rate_limited(wait)
        if method == "OPTIONS":
            return _invited(request, sender)
        policy, message = sender.signature or route.policy, None
        if route.certificate is not None and isinstance(sender, Integration):
            message = await self._sns.check(route.certificate, sender, policy, request.body)
        elif ((proofs := route.proofs(sender)) and policy != "off") or policy == "required":
            mark = auth.check_signature(proofs, request.header, request.sent, time.time())
            if mark:
                request.mark = digest(sender.id, mark)
                if request.mark in self._replays:
                    return answers.UNVERIFIED["replayed"]
        if claims:  # only now: a sender that cannot sign must not use up the tokens of one that can
            self._buckets.take(claims, time.monotonic())
        try:
            order_key = route.provider.order_key(route.decode(request), request.context)
        except NoAlert as silence:
            return await self._silent(route, request, silence, message)
        except BadBody as error:
            self._rejections.keep(request, route, error, self._control.integrations)
            return answers.bad_body(error.path, error.reason)
        asked = preference(request.header("prefer"))
        seconds = route.wait if asked is None else asked
        if seconds:
            answer = await self._judged(route, request, order_key, seconds)
            return answer if asked is None else answers.waited(answer, asked)
        await self._put(route, request, order_key)
        return route.accepted(request, order_key)

    async def _silent(self, route: Route, request: Request, silence: NoAlert, message: SignedMessage | None) -> Answer:
        """Answer a request without an alert: store its change, and start the visit that a verified message asks for."""
        if silence.change is not None:
            assert request.sender is not None
            slug = route.provider.slug
            stored = changes.put(self._changes, request.sender, slug, request.event_id, silence.change)
            self._remember(request, stored)
            await stored
        if silence.callback and message is not None:
            self._sns.confirm(message, silence.callback)
        return route.silent(request, silence)

    async def _judged(self, route: Route, request: Request, order_key: str, seconds: int) -> Answer:
        """Put the request on Kafka, and answer with the stream's verdict if that comes in time."""
        verdict = await self._verdicts.of(request.event_id, seconds, partial(self._put, route, request, order_key))
        answer = route.accepted(request, order_key)
        return answer if verdict is None else route.judged(answer, verdict)

    def _refuse(self, route: Route | None, request: Request, answer: Answer) -> Answer:
        """Note a refusal, and return it in the form that the route's clients read."""
        if route is not None:
            self._rejections.note(request.sender, route.provider.slug, route.address, answer)
            return route.refused(request, answer)
        if shape := self.routes.shape(request.scope.path):
            self._rejections.note(None, "", shape, answer)
        return answer

    def _remember(self, request: Request, stored: asyncio.Future[None]) -> None:
        if request.mark:
            self._replays.remember(request.mark, stored, time.monotonic())

    def _put(
        self, route: Route, request: Request, order_key: str, headers: Headers = NO_HEADERS
    ) -> asyncio.Future[None]:
        """The future ends once Kafka has the request. A sender's requests with one order key share a partition."""
        assert request.sender is not None
        at = int.from_bytes(request.event_id[:6], "big")  # a UUIDv7 begins with its time in milliseconds
        event = request.raw(route.provider.slug, at)
        key = digest(request.sender.id, order_key)
        stored = self._lanes.put(key, encode(event), at, headers)
        self._remember(request, stored)
        return stored


def _invited(request: Request, sender: Sender) -> Answer:
    """Answer a CloudEvents sender that asks before it sends: sending is allowed, at the sender's rate a minute."""
    origin = request.header("webhook-request-origin")
    if origin is None:
        return answers.bad_body("WebHook-Request-Origin", "is required")
    rate = rate_limit(sender)
    return answers.allowed_origin(origin, "*" if rate == "unlimited" else str(rate))
