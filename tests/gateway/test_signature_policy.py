"""When a request must be signed: the integration's policy, and its secret. No header, however odd, is our error."""

import asyncio
import hmac
from hashlib import sha256
from urllib.parse import urlsplit

import aiohttp
import pytest

from schemas.control import Integration, Service, SignaturePolicy
from streams.control.follow import publish
from streams.process.kafka import Kafka
from tests.gateway.conftest import SIGNATURE_SECRET, SIGNED_KEY, RunningGateway

pytestmark = pytest.mark.broker

POLICIES: tuple[SignaturePolicy | None, ...] = (None, "if_secret_set", "required", "off")
BODY = b'{"summary": "policy"}'
RIGHT = hmac.new(SIGNATURE_SECRET.encode(), BODY, sha256).hexdigest()


def key(policy: SignaturePolicy | None, secret: bool) -> str:
    """The key of the integration with this policy, with or without a secret."""
    return f"{POLICIES.index(policy)}{int(secret)}" + "ca" * 15


@pytest.fixture(scope="module")
def policies(gateway: RunningGateway) -> None:
    """An integration of each policy, which the gateway knows."""

    async def prepare() -> None:
        records = [
            Integration(
                id=key(policy, secret),
                name=f"{policy} {secret}",
                type="webhook",
                service="policies",
                signature=policy,
                signature_secret=SIGNATURE_SECRET if secret else None,
            )
            for policy in POLICIES
            for secret in (False, True)
        ]
        await publish(Kafka(gateway.bootstrap), [Service(id="policies"), *records])
        async with aiohttp.ClientSession(gateway.url) as http, asyncio.timeout(10):
            while True:
                if (await post(http, records[-1].id, None))[0] == 202:
                    break
                await asyncio.sleep(0.05)

    asyncio.run(prepare())


async def post(http: aiohttp.ClientSession, integration: str, signature: str | None) -> tuple[int, str | None]:
    """Status and reason."""
    headers = {} if signature is None else {"X-Signature": signature}
    path = f"/api/integrations/webhook?integrationId={integration}"
    async with http.post(path, data=BODY, headers=headers) as answer:
        return answer.status, (await answer.json()).get("reason")


CHECKED = {"right": (202, None), "wrong": (401, "bad_signature"), "none": (401, "missing_header")}
ANY = dict.fromkeys(CHECKED, (202, None))
REFUSED = dict.fromkeys(CHECKED, (401, "missing_secret"))


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize("secret", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
async def test_policy_and_secret_decide(
    http: aiohttp.ClientSession, policy: SignaturePolicy | None, secret: bool
) -> None:
    """C10, decision 5: a secret asks for a signature unless switched off; `required` without a secret takes nothing."""
    wanted = ANY if policy == "off" else CHECKED if secret else REFUSED if policy == "required" else ANY
    for signature, given in (("right", RIGHT), ("wrong", "0" * 64), ("none", None)):
        assert await post(http, key(policy, secret), given) == wanted[signature], signature


@pytest.mark.parametrize(
    "header",
    [
        b"X-Signature: \xff\xfe",
        b"X-Signature: s\xc3\xbc\xc3\x9f",
        b"X-Signature: " + b"a" * 10_000,
        b"X-Signature:",
        b"X-Timestamp: soon\r\nX-Signature: " + RIGHT.encode(),
        b"X-Timestamp: " + b"9" * 5000 + b"\r\nX-Signature: " + RIGHT.encode(),
        b"webhook-id: \xff\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,",
        b"webhook-id: i\r\nwebhook-timestamp: -1\r\nwebhook-signature: " + b"v1, " * 1000,
        b"Content-Encoding: \xff",
        b"Authorization: \xff",
    ],
)
async def test_odd_headers_are_401(gateway: RunningGateway, header: bytes) -> None:
    """Bytes that are no text (which count as not sent), endless values, no numbers: unauthorized, told as JSON."""
    url = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        head = f"POST /api/integrations/webhook?integrationId={SIGNED_KEY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        writer.write(head.encode() + b"Content-Length: %d\r\n%b\r\n\r\n%b" % (len(BODY), header, BODY))
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert b'"error":"unauthorized"' in answer
