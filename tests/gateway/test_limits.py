"""Rate limits: as many as agreed, then 429 until the seconds it names are over; nobody else is concerned."""

import asyncio
import itertools
from hashlib import sha256
from time import monotonic

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import DEFAULT_RATE_LIMIT, ApiKey, Integration, Service, Tenant
from streams.control.follow import publish
from streams.gateway.limits import Buckets, Claims, claims_of
from streams.gateway.senders import ApiSender, HeartbeatSender
from streams.process.kafka import Kafka
from tests.gateway.conftest import SIGNATURE_SECRET, RunningGateway, ends
from tests.gateway.senders import signature

NOW = 1_000_000.0


def granted(buckets: Buckets, claims: Claims, now: float) -> bool:
    """Ask as the gateway does: the token is taken if there is one."""
    if buckets.wait(claims, now):
        return False
    buckets.take(claims, now)
    return True


def burst(buckets: Buckets, claims: Claims, now: float) -> int:
    """How many requests are granted at one instant."""
    return next(count for count in itertools.count() if not granted(buckets, claims, now))


def test_a_minutes_worth_and_then_one_at_a_time() -> None:
    """C76: 120 at once and not one more; a minute later 120 again, after half a second exactly one."""
    buckets = Buckets()
    claims = (("a", DEFAULT_RATE_LIMIT),)
    assert burst(buckets, claims, NOW) == 120
    assert burst(buckets, claims, NOW + 0.5) == 1
    assert burst(buckets, claims, NOW + 60.5) == 120
    assert burst(buckets, claims, NOW + 1e6) == 120


def test_another_sender_is_not_concerned() -> None:
    """C76: each key has its bucket."""
    buckets = Buckets()
    assert burst(buckets, (("a", 5),), NOW) == 5
    assert burst(buckets, (("b", 7),), NOW) == 7


@given(st.integers(1, 10_000_000), st.floats(0, 120))
def test_waiting_as_long_as_told_is_enough(rate: int, late: float) -> None:
    """C77: whole seconds up to 60, after which a request is granted, whatever the rate."""
    buckets = Buckets()
    claims = (("a", rate),)
    buckets.take((("a", 1),), NOW)  # all that a minute brings
    assert buckets.wait(claims, NOW) >= 1
    seconds = buckets.wait(claims, NOW + late)
    assert isinstance(seconds, int)
    assert 0 <= seconds <= 60
    assert buckets.wait(claims, NOW + late + seconds) == 0


@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_never_more_than_the_bucket_and_what_ran_into_it(rate: int, pauses: list[float]) -> None:
    """Over any time, a sender gets at most one bucket and its rate."""
    buckets, now, count = Buckets(), NOW, 0
    for pause in pauses:
        now += pause
        count += sum(granted(buckets, (("a", rate),), now) for _ in range(3))
        assert count <= rate + (now - NOW) * rate / 60 + 1e-3


def test_a_tenants_quota_is_over_all_of_its_senders_and_costs_none_of_them_a_token() -> None:
    """Two senders share the quota; one that is refused for the other's sake keeps what it has."""
    buckets = Buckets()
    first, second = (("tenant/t", 10), ("a", 8)), (("tenant/t", 10), ("b", 8))
    assert burst(buckets, first, NOW) == 8
    assert burst(buckets, second, NOW) == 2
    assert burst(buckets, (("b", 8),), NOW) == 6


def test_a_changed_rate_counts_at_once() -> None:
    """Raising the limit of a sender that is at its limit lets it go on."""
    buckets = Buckets()
    assert burst(buckets, (("a", 1),), NOW) == 1
    assert buckets.wait((("a", 1),), NOW) == 60
    assert buckets.wait((("a", 600_000),), NOW) == 1


def test_full_buckets_are_forgotten() -> None:
    """A hundred thousand senders that came once do not stay in memory."""
    buckets = Buckets()
    for number in range(100_000):
        buckets.take(((f"{number}", 120),), NOW + number / 100)
    assert len(buckets) < 2_500


def test_what_limits_a_sender() -> None:
    """Its own rate and its tenant's; an API key has one too; unlimited is nothing to ask for."""
    sender = Integration(id="a" * 32, tenant="t", name="n", type="webhook", service="s")
    free = sender.model_copy(update={"rate_limit": "unlimited"})
    key = ApiKey(id="k", tenant="t", sha256="0" * 64)
    by_key = ApiSender(key, "t", "s", "apikey/k", rate_limit=key.rate_limit)
    quota = Tenant(id="t", rate_limit=1000)
    assert claims_of(sender, None) == (("a" * 32, 120),)
    assert claims_of(by_key, Tenant(id="t")) == (("apikey/k", 120),)
    assert claims_of(free, None) == claims_of(free, Tenant(id="t")) == ()
    assert claims_of(free, quota) == (("tenant/t", 1000),)
    assert claims_of(HeartbeatSender("t", "s", "heartbeat/t/cron"), quota) == (("heartbeat/t/cron", 120),)
    assert claims_of(sender, quota) == (("tenant/t", 1000), ("a" * 32, 120))


LIMITED, OTHER, SIGNED, SHARED = ("1a" * 16, "1b" * 16, "1c" * 16, "1d" * 16)
TENANT_KEY = "the API key of a tenant with a quota"


@pytest.fixture(scope="module")
def limited(gateway: RunningGateway) -> RunningGateway:
    """Integrations with limits, which the gateway knows."""

    async def prepare() -> None:
        records = [
            Service(id="limits"),
            Integration(id=LIMITED, name="limited", type="webhook", service="limits"),
            Integration(id=OTHER, name="other", type="webhook", service="limits", rate_limit=60),
            Integration(
                id=SIGNED,
                name="signed",
                type="webhook",
                service="limits",
                rate_limit=3,
                signature_secret=SIGNATURE_SECRET,
            ),
            Tenant(id="limits", rate_limit=4),
            Service(id="limits", tenant="limits"),
            ApiKey(id="limits", tenant="limits", sha256=sha256(TENANT_KEY.encode()).hexdigest()),
            Integration(
                id=SHARED, tenant="limits", name="shared", type="webhook", service="limits", rate_limit="unlimited"
            ),
        ]
        await publish(Kafka(gateway.bootstrap), records)
        async with aiohttp.ClientSession(gateway.url) as http, asyncio.timeout(10):
            while True:
                if (await post(http, SHARED, b"[")).status == 400:
                    break
                await asyncio.sleep(0.05)

    asyncio.run(prepare())
    return gateway


async def post(http: aiohttp.ClientSession, key: str, data: bytes = b"{}", **headers: str) -> aiohttp.ClientResponse:
    """One request; its body is read."""
    path = f"/api/integrations/webhook?integrationId={key}"
    async with http.post(path, data=data, headers=headers) as answer:
        await answer.read()
        return answer


@pytest.mark.broker
async def test_above_the_default_limit_requests_are_answered_429(
    limited: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """C76, C77: of requests back to back some 120 are accepted; the next is 429, and right after Retry-After."""
    start = await ends(limited.bootstrap)
    began, accepted = monotonic(), 0
    while (answer := await post(http, LIMITED)).status == 202:
        accepted += 1
    # What runs in while the test sends is granted as well.
    assert 120 <= accepted <= 120 + (monotonic() - began) * 2 + 1
    assert answer.status == 429
    assert (await answer.json())["error"] == "too many requests"
    seconds = answer.headers["Retry-After"]
    assert seconds.isdecimal()
    assert (await post(http, OTHER)).status == 202
    assert sum((await ends(limited.bootstrap)).values()) - sum(start.values()) == accepted + 1
    await asyncio.sleep(int(seconds))
    assert (await post(http, LIMITED)).status == 202


@pytest.mark.broker
async def test_who_cannot_sign_uses_up_nothing(limited: RunningGateway, http: aiohttp.ClientSession) -> None:
    """C79: a flood with a known id and no right signature is 401 for ever, and its owner has the whole limit."""
    for _ in range(20):
        assert (await post(http, SIGNED, **{"X-Signature": "0" * 64})).status == 401
    statuses = [
        (await post(http, SIGNED, **{"X-Signature": signature(b"{}", SIGNATURE_SECRET)})).status for _ in range(4)
    ]
    assert statuses == [202, 202, 202, 429]


@pytest.mark.broker
async def test_a_tenants_senders_share_its_quota(limited: RunningGateway, http: aiohttp.ClientSession) -> None:
    """An unlimited integration and an API key together get what their tenant has."""
    headers = {"Authorization": f"Bearer {TENANT_KEY}"}
    event = b'{"event_action": "resolve", "dedup_key": "k", "service_id": "limits"}'
    statuses = []
    for _ in range(3):
        statuses.append((await post(http, SHARED)).status)
        async with http.post("/api/events", data=event, headers=headers) as answer:
            statuses.append(answer.status)
    # The fixture has used up a token or two.
    assert statuses[0] == 202
    assert statuses[-1] == 429
    assert statuses == sorted(statuses)
