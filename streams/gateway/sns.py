"""Amazon SNS: checks the certificate that signed a message, and visits the URL that confirms a subscription.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html. A message names its certificate by a
URL, which the provider accepts only if it is Amazon SNS's own; the same holds for the URL that confirms.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from schemas.control import Integration, SignaturePolicy
from streams.gateway import answers
from streams.gateway.answers import Refusal
from streams.policy.signature import SignedMessage, SnsCertificate

log = structlog.get_logger(__name__)

#: How many seconds a request waits for a certificate. The fetch continues, and SNS retries a request that gets 503.
WAIT_S = 3.0
#: How many certificates are remembered; an account's regions have one each, and a new one now and then.
MAX_CERTIFICATES = 64
#: Fetches a minute, and visits at the same time: the owner of a key cannot make us ask Amazon without limit.
MAX_FETCHES = 32
MAX_VISITS = 32
#: Pauses between failed visits. After the last, "Request confirmation" in the SNS console starts again.
PAUSES_S = (1.0, 5.0, 25.0, 60.0)
_FINAL = frozenset(range(400, 500)) - {408, 429}


class Fetched(Protocol):
    """How a request ended: an HTTP status and the body, or 0 and the reason why there is none."""

    @property
    def status(self) -> int: ...

    @property
    def error_code(self) -> str | None: ...

    @property
    def body(self) -> bytes: ...


class Client(Protocol):
    """The outgoing client: bounded in time and size, never redirected, never into a private network."""

    async def get(self, url: str) -> Fetched: ...


class Sns:
    """Checks messages and confirms subscriptions. Belongs to one event loop; `close` ends its background tasks."""

    def __init__(
        self,
        client: Client,
        wait: float = WAIT_S,
        pauses: Sequence[float] = PAUSES_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._clock = clock
        self._fetched: deque[float] = deque(maxlen=MAX_FETCHES)
        self._wait = wait
        self._pauses = pauses
        self._certificates: dict[str, str] = {}
        self._fetches: dict[str, asyncio.Task[str | None]] = {}
        self._visits: dict[str, asyncio.Task[None]] = {}

    async def check(
        self, scheme: SnsCertificate, integration: Integration, policy: SignaturePolicy, body: bytes
    ) -> SignedMessage | None:
        """The message, if its signature was verified; None for a message that is accepted without a signature.

        A body that is not an SNS message (raw message delivery), or any message if `policy` is off, needs no signature.
        The integration's secret, if it has one, is the certificate. Refuses with 401, with 403 for a topic that the
        integration does not list, with 503 while the certificate cannot be fetched.
        """
        message = scheme.read(body)
        if message is None:
            if policy == "required" or integration.topic_arns:
                raise Refusal(answers.NOT_SIGNED)
            return None
        verified = policy != "off" or message.confirms
        if verified:
            pem = integration.signature_secret or await self._certificate(message.certificate_url)
            if not message.signed_with(pem):
                raise Refusal(answers.UNVERIFIED["bad_signature"])
        if integration.topic_arns and message.topic not in integration.topic_arns:
            raise Refusal(answers.OTHER_TOPIC)
        return message if verified else None

    def confirm(self, message: SignedMessage, url: str) -> None:
        """Visit the URL that a verified message asks to visit, in the background and with retries.

        Refuses with 503 while too many visits are in progress: SNS sends the message again.
        """
        if url in self._visits:
            return
        if len(self._visits) >= MAX_VISITS:
            raise Refusal(answers.UNAVAILABLE)
        visit = self._visits[url] = asyncio.create_task(self._visit(url, message.topic), name="sns confirmation")
        visit.add_done_callback(lambda _: self._visits.pop(url))

    async def close(self) -> None:
        """Cancel the fetches and visits in progress."""
        tasks = [*self._fetches.values(), *self._visits.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _certificate(self, url: str | None) -> str:
        """The certificate at this URL, "" if there is none. Refuses with 503 while that is not known."""
        if url is None:
            return ""
        if url in self._certificates:
            return self._certificates[url]
        fetch = self._fetches.get(url)
        if fetch is None:
            now = self._clock()
            if len(self._fetched) == MAX_FETCHES and now - self._fetched[0] < 60:
                raise Refusal(answers.NO_CERTIFICATE)
            self._fetched.append(now)
            fetch = self._fetches[url] = asyncio.create_task(self._fetch(url), name="sns certificate")
            fetch.add_done_callback(lambda _: self._fetches.pop(url))
        await asyncio.wait([fetch], timeout=self._wait)
        pem = fetch.result() if fetch.done() else None
        if pem is None:
            raise Refusal(answers.NO_CERTIFICATE)
        return pem

    async def _fetch(self, url: str) -> str | None:
        answer = await self._client.get(url)
        if answer.status in _FINAL:
            return ""
        pem = answer.body.decode("ascii", "replace").strip()
        complete = pem.startswith("-----BEGIN CERTIFICATE-----") and pem.endswith("-----END CERTIFICATE-----")
        if answer.status != 200 or not complete:
            log.warning("a certificate of SNS cannot be fetched", status=answer.status, error=answer.error_code)
            return None
        while len(self._certificates) >= MAX_CERTIFICATES:
            del self._certificates[next(iter(self._certificates))]
        self._certificates[url] = pem
        return pem

    async def _visit(self, url: str, topic: str) -> None:
        for pause in (*self._pauses, None):
            answer = await self._client.get(url)
            if answer.status == 200:
                log.info("subscribed to an SNS topic", topic=topic)
                return
            if answer.status in _FINAL or pause is None:
                log.error("SNS does not confirm", topic=topic, status=answer.status, error=answer.error_code)
                return
            await asyncio.sleep(pause)
