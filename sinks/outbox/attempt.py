"""One attempt: what a channel renders goes over HTTP or SMTP, and the channel says how that ended."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from traceback import extract_tb
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import structlog

from schemas.wire.incident import Status
from schemas.wire.notification import Transition
from sinks.contract import Channel, Digest, End, Mail, Message, RenderError, Request, Verdict
from sinks.outbound import Answer
from sinks.outbox.limits import Limits
from sinks.outbox.metrics import ATTEMPT_SECONDS, ATTEMPTS
from sinks.outbox.settle import Attempt, Sent, summary_id
from sinks.outbox.table import Waiting

log = structlog.get_logger(__name__)

#: Incidents that a summary names; the rest are counted.
NAMED = 20


class Http(Protocol):
    """The part of sinks.outbound.Outbound that is used here."""

    async def post(self, url: str, body: bytes, headers: Any, /) -> Answer: ...


class Smtp(Protocol):
    """The part of sinks.mail.Mailer that is used here."""

    async def send(self, mail: Mail, /) -> Answer: ...


class Ended(NamedTuple):
    """How an attempt ended; `handle` is what the channel wants to keep of the answer."""

    verdict: Verdict
    attempt: Attempt
    handle: str = ""


class Sending:
    """Makes attempts. `clock` gives milliseconds, `sleep` waits seconds."""

    def __init__(
        self,
        http: Http,
        smtp: Smtp,
        limits: Limits,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._smtp = smtp
        self._limits = limits
        self._clock = clock
        self._sleep = sleep

    async def send(self, channel: Channel[Any], requests: Sequence[Request | Mail], handle: str) -> Ended:
        """Send the requests one after another until one fails. The tokens of the first are taken already.

        Raises only CancelledError: an exception in a channel is a refusal that names its type.
        """
        started = self._clock()
        verdict, status = Verdict(End.REFUSED, "nothing_to_send"), 0
        try:
            with ATTEMPT_SECONDS.labels(channel.slug).time():
                for number, request in enumerate(requests):
                    if number:
                        await self._tokens(request)
                    answer = await self._perform(request)
                    verdict, replaced = channel.classify(answer), False
                    while (
                        (instead := _instead(request)) is not None and verdict.end is End.REFUSED and not verdict.broken
                    ):
                        request, replaced = instead, True
                        await self._tokens(request)
                        answer = await self._perform(request)
                        verdict = channel.classify(answer)
                    status = answer.status
                    if verdict.end is not End.DONE:
                        break
                    if channel.keep is not None and (replaced or not handle):
                        handle = channel.keep(answer) or handle
        except Exception as error:
            verdict = Verdict(End.REFUSED, unrendered(channel.slug, error))
        ATTEMPTS.labels(channel.slug, verdict.end).inc()
        return Ended(verdict, Attempt(channel.slug, started, self._clock(), status, verdict.reason), handle)

    async def _perform(self, request: Request | Mail) -> Answer:
        if isinstance(request, Mail):
            return await self._smtp.send(request)
        return await self._http.post(request.url, request.body, request.headers)

    async def _tokens(self, request: Request | Mail) -> None:
        while (wait := self._limits.wait(request.rates, self._clock())) > 0:
            await self._sleep(wait / 1000)
        self._limits.take(request.rates, self._clock())


def message_of(waiting: Waiting, base_url: str, now: int) -> Message:
    """What a waiting message tells, at the time of an attempt."""
    newest = waiting.newest
    told = (*(Transition(earlier.transition) for earlier in waiting.earlier), newest.transition)
    return Message(
        str(UUID(bytes=newest.notification_id)), newest, told, base_url.rstrip("/"), now, reached=waiting.reached
    )


def digest_of(many: Sequence[Sent], base_url: str, now: int) -> Digest:
    """The summary of many waiting messages."""
    incidents = [sent.waiting.newest.incident for sent in many]
    worst = sorted(incidents, key=lambda incident: (incident.status == Status.RESOLVED, -incident.severity))
    return Digest(
        id=str(UUID(bytes=summary_id(many))),
        total=len(incidents),
        by_severity=Counter(incident.severity for incident in incidents),
        resolved=sum(incident.status == Status.RESOLVED for incident in incidents),
        incidents=worst[:NAMED],
        base_url=base_url.rstrip("/"),
        now=now,
    )


def unrendered(channel: str, error: Exception) -> str:
    """The reason of an exception in a channel: its own text for a RenderError, else the type of what is a defect.

    Only type and line are logged: the text may quote the notification or settings.
    """
    if isinstance(error, RenderError):
        return str(error)
    kind, place = type(error).__name__, extract_tb(error.__traceback__)[-1]
    log.error("channel failed", channel=channel, error=kind, file=place.filename, line=place.lineno)
    return f"channel_error: {kind}"


def _instead(request: Request | Mail) -> Request | None:
    return request.instead if isinstance(request, Request) else None
