"""Messages of SNS at the gateway: certificates, topics and subscriptions, with Amazon's two addresses played."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from schemas.control import Integration, SignaturePolicy
from sinks.outbound import Answer
from streams.gateway import sns as module
from streams.gateway.answers import Refusal
from streams.gateway.sns import Client, Sns
from streams.policy.signature import SignedMessage, SnsCertificate
from streams.providers import PROVIDERS
from tests.providers.amazon import (
    CERTIFICATE_URL,
    CONFIRMATION,
    CONFIRMING,
    NAMES,
    NOTIFICATION,
    SUBSCRIBE_URL,
    TOPIC,
    Amazon,
    certificate,
    rsa_key,
    signed,
)

RAW = b'{"AlarmName":"disk","NewStateValue":"ALARM"}'
MESSAGE = signed(NOTIFICATION, "2", NAMES)
CONFIRM = signed(CONFIRMATION, "1", CONFIRMING)


@asynccontextmanager
async def checking(
    client: Client,
    wait: float = 5,
    pauses: tuple[float, ...] = (0.01,) * 4,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Sns]:
    """The checks in front of this Amazon."""
    sns = Sns(client, wait, pauses, clock)
    try:
        yield sns
    finally:
        await sns.close()


async def check(
    sns: Sns,
    body: bytes,
    policy: SignaturePolicy = "if_secret_set",
    topics: tuple[str, ...] = (),
    pem: str | None = None,
) -> SignedMessage | None:
    """What is found of a message for an integration of these settings."""
    scheme = PROVIDERS["cloudwatch"].signature
    assert isinstance(scheme, SnsCertificate)
    integration = Integration(
        id="c" * 32, name="aws", type="cloudwatch", service="s", topic_arns=topics, signature_secret=pem
    )
    return await sns.check(scheme, integration, policy, body)


async def refused(sns: Sns, body: bytes, **settings: object) -> tuple[int, str]:
    """Status and reason of the refusal."""
    with pytest.raises(Refusal) as caught:
        await check(sns, body, **settings)  # type: ignore[arg-type]
    return caught.value.answer.status, caught.value.answer.reason


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_certificate_is_fetched_once() -> None:
    """However many messages wait for it, and never again afterwards."""
    amazon = Amazon()
    async with checking(amazon) as sns:
        found = await asyncio.gather(*(check(sns, MESSAGE) for _ in range(20)))
        assert [message.topic for message in found if message is not None] == [TOPIC] * 20
        assert await check(sns, CONFIRM) is not None
        assert amazon.visited == [CERTIFICATE_URL]


@pytest.mark.parametrize(
    ("changed", "fetched"),
    [
        ({"Message": "other"}, True),
        ({"Signature": "AAAA"}, True),
        ({"SigningCertURL": CERTIFICATE_URL.replace("1f", "2e")}, True),
        ({"SigningCertURL": "http://sns.eu-north-1.amazonaws.com/a.pem"}, False),
        ({"SigningCertURL": "https://sns.amazonaws.com.evil.example/a.pem"}, False),
        ({"SigningCertURL": "https://sns.eu-north-1.amazonaws.com.evil.example/a.pem"}, False),
        ({"SigningCertURL": "https://sns.eu-north-1.amazonaws.com@evil.example/a.pem"}, False),
        ({"SigningCertURL": "https://evil.example\\@sns.eu-north-1.amazonaws.com/a.pem"}, False),
        ({"SigningCertURL": "https://u:p@sns.eu-north-1.amazonaws.com/a.pem"}, False),
        ({"SigningCertURL": "https://sns.eu-north-1.amazonaws.com:8443/a.pem"}, False),
        ({"SigningCertURL": "https://sns.eu-north-1.amazonaws.com/a.pem#.pem"}, False),
        ({"SigningCertURL": "https://sns.eu-north-1.amazonaws.com/a.txt"}, False),
        ({"SigningCertURL": "https://s3.eu-north-1.amazonaws.com/a.pem"}, False),
        ({"SigningCertURL": "https://sns.eu-north-1.amazonaws.com/../b/a.pem"}, False),
        ({"SigningCertURL": " https://sns.eu-north-1.amazonaws.com/a.pem\n"}, False),
        ({"SigningCertURL": ["https://sns.eu-north-1.amazonaws.com/a.pem"]}, False),
        ({"SigningCertURL": None}, False),
    ],
)
async def test_what_amazon_did_not_sign_is_refused(changed: dict[str, object], fetched: bool) -> None:
    """Changed messages and unknown certificates are 401; an address that is not Amazon SNS's is never visited."""
    amazon = Amazon()
    async with checking(amazon) as sns:
        assert await refused(sns, signed(NOTIFICATION, "2", NAMES, **changed)) == (401, "bad_signature")
    assert bool(amazon.visited) is fetched


async def test_the_other_signature_version_and_china_are_known() -> None:
    """Version 1 is SHA-1; the regions of China have a host of their own."""
    china = CERTIFICATE_URL.replace("eu-north-1.amazonaws.com", "cn-north-1.amazonaws.com.cn")

    class China:
        async def get(self, url: str) -> Answer:
            assert url == china
            return Answer(200, body=certificate(rsa_key()).encode())

    async with checking(China()) as sns:
        assert await check(sns, signed(NOTIFICATION, "1", NAMES, SigningCertURL=china)) is not None


@pytest.mark.parametrize(
    "answer",
    [Answer(0), Answer(500), Answer(429), Answer(302), Answer(200, body=b"<html>")],
)
async def test_a_certificate_that_cannot_be_had_is_no_wrong_signature(answer: Answer) -> None:
    """503 with Retry-After, so SNS sends it again; the next message tries anew."""

    class Away:
        visits = 0

        async def get(self, url: str) -> Answer:
            self.visits += 1
            return answer

    async with checking(away := Away()) as sns:
        for _ in range(2):
            with pytest.raises(Refusal) as caught:
                await check(sns, MESSAGE)
            assert (caught.value.answer.status, caught.value.answer.reason) == (503, "no_certificate")
            assert ("retry-after", "2") in caught.value.answer.headers
        assert away.visits == 2


async def test_a_slow_certificate_does_not_hold_the_request() -> None:
    """The request is answered 503 after its wait; the fetch goes on, and the repeated message finds it."""
    release = asyncio.Event()

    class Slow(Amazon):
        async def get(self, url: str) -> Answer:
            await release.wait()
            return await super().get(url)

    async with checking(slow := Slow(), wait=0.02) as sns:
        assert await refused(sns, MESSAGE) == (503, "no_certificate")
        assert await refused(sns, MESSAGE) == (503, "no_certificate")
        release.set()
        await until(lambda: bool(sns._certificates))
        assert await check(sns, MESSAGE) is not None
        assert slow.visited == [CERTIFICATE_URL]


async def test_certificates_and_fetches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest certificate makes room; more addresses in a minute than allowed wait for SNS's next try."""
    monkeypatch.setattr(module, "MAX_CERTIFICATES", 2)
    monkeypatch.setattr(module, "MAX_FETCHES", 3)
    urls = [CERTIFICATE_URL.replace("1f", str(number)) for number in range(4)]
    bodies = [signed(NOTIFICATION, "2", NAMES, SigningCertURL=url) for url in urls]
    visited: list[str] = []

    class Many:
        async def get(self, url: str) -> Answer:
            visited.append(url)
            return Answer(200, body=certificate(rsa_key()).encode())

    now = 0.0
    async with checking(Many(), clock=lambda: now) as sns:
        for body in bodies[:3]:
            assert await check(sns, body) is not None
            now += 10
        assert await refused(sns, bodies[3]) == (503, "no_certificate")
        assert await check(sns, bodies[2]) is not None
        now = 60.0
        assert await check(sns, bodies[0]) is not None
        assert visited == [*urls[:3], urls[0]]
        assert await refused(sns, bodies[1]) == (503, "no_certificate")


async def test_a_certificate_of_ones_own_is_used_instead() -> None:
    """Where nothing may be fetched, the integration's secret is the certificate; another one does not fit."""
    amazon = Amazon()
    async with checking(amazon) as sns:
        assert await check(sns, MESSAGE, pem=certificate(rsa_key())) is not None
        other = certificate(rsa.generate_private_key(65537, 2048))
        assert await refused(sns, MESSAGE, pem=other) == (401, "bad_signature")
    assert amazon.visited == []


async def test_a_message_of_another_topic_is_refused() -> None:
    """With topics listed, a message must be of one of them, and must say so: a bare one is refused."""
    async with checking(Amazon()) as sns:
        assert await check(sns, MESSAGE, topics=("arn:aws:sns:eu-north-1:1:other", TOPIC)) is not None
        assert await refused(sns, MESSAGE, topics=("arn:aws:sns:eu-north-1:1:other",)) == (403, "topic")
        assert await refused(sns, RAW, topics=(TOPIC,)) == (401, "missing_signature")


async def test_only_raw_delivery_and_the_policy_off_need_no_signature() -> None:
    """A bare message passes unless a signature is required; `off` takes any message, but confirms only signed ones."""
    amazon = Amazon()
    unsigned = signed(NOTIFICATION, "2", NAMES, Signature="AAAA")
    async with checking(amazon) as sns:
        assert await check(sns, RAW) is None
        assert await refused(sns, RAW, policy="required") == (401, "missing_signature")
        assert await check(sns, unsigned, policy="off") is None
        assert amazon.visited == []
        assert await refused(sns, unsigned, policy="required") == (401, "bad_signature")
        forged = signed(CONFIRMATION, "2", CONFIRMING, Token="78")
        assert await refused(sns, forged, policy="off") == (401, "bad_signature")


async def test_a_subscription_is_confirmed_in_the_background_and_once() -> None:
    """The visit is tried until it works, and a confirmation that comes again meanwhile adds none."""
    amazon = Amazon()
    async with checking(amazon) as sns:
        message = await check(sns, CONFIRM)
        assert message is not None
        amazon.visited.clear()
        amazon.away = 2
        for _ in range(3):
            sns.confirm(message, SUBSCRIBE_URL)
        await until(lambda: not sns._visits)
        assert amazon.visited == [SUBSCRIBE_URL] * 3


async def test_a_confirmation_that_amazon_refuses_is_given_up() -> None:
    """A token that Amazon does not know is not tried again; without any answer it ends after the last pause."""
    amazon = Amazon()
    async with checking(amazon) as sns:
        message = await check(sns, CONFIRM)
        assert message is not None
        amazon.visited.clear()
        sns.confirm(message, f"{SUBSCRIBE_URL}8")
        await until(lambda: not sns._visits)
        assert len(amazon.visited) == 1
        amazon.away = 100
        sns.confirm(message, SUBSCRIBE_URL)
        await until(lambda: not sns._visits)
        assert len(amazon.visited) == 1 + 5


async def test_visits_are_bounded_and_end_with_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """One visit more than allowed is 503, so SNS asks again; closing ends those under way."""
    monkeypatch.setattr(module, "MAX_VISITS", 1)
    amazon = Amazon()
    async with checking(amazon, pauses=(60,)) as sns:
        message = await check(sns, CONFIRM)
        assert message is not None
        amazon.away = 9
        sns.confirm(message, SUBSCRIBE_URL)
        with pytest.raises(Refusal) as caught:
            sns.confirm(message, f"{SUBSCRIBE_URL}8")
        assert caught.value.answer.status == 503
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert not sns._visits
