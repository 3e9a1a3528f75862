"""SNS and change events through a real gateway: what is answered, visited and stored."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.control import Integration, masked_key
from schemas.topics import CHANGES
from schemas.wire.change import ChangeEvent
from schemas.wire.codec import decode_change
from streams.control.follow import publish
from streams.process.kafka import Kafka
from tests.conftest import FreePorts, free_base
from tests.gateway.conftest import (
    RunningGateway,
    accepted_since,
    ends,
    running_gateway,
    values_since,
    wait_for,
)
from tests.providers.amazon import (
    CERTIFICATE_URL,
    CONFIRMATION,
    CONFIRMING,
    NAMES,
    NOTIFICATION,
    SUBSCRIBE_URL,
    TOPIC,
    certificate,
    rsa_key,
    signed,
)

pytestmark = pytest.mark.broker

SNS_KEY, LISTED_KEY, OTHER_KEY, OFF_KEY = "51" * 16, "52" * 16, "53" * 16, "54" * 16
CHANGE_KEY, CHANGE_OFF_KEY = "c1" * 16, "c2" * 16
RECORDS = [
    Integration(id=SNS_KEY, name="sns", type="cloudwatch", service="aws", rate_limit="unlimited"),
    Integration(id=LISTED_KEY, name="listed", type="cloudwatch", service="aws", topic_arns=(TOPIC,)),
    Integration(id=OTHER_KEY, name="other", type="cloudwatch", service="aws", topic_arns=("arn:aws:sns:x:1:other",)),
    Integration(id=OFF_KEY, name="off", type="cloudwatch", service="aws", enabled=False),
    Integration(id=CHANGE_KEY, name="deploys", type="change_events", service="shop", rate_limit="unlimited"),
    Integration(id=CHANGE_OFF_KEY, name="paused", type="change_events", service="shop", enabled=False),
]
MESSAGE = signed(NOTIFICATION, "2", NAMES)
CONFIRM = signed(CONFIRMATION, "1", CONFIRMING)
CHANGE: dict[str, Any] = {
    "payload": {
        "summary": "Build Success: Increase snapshot create timeout to 30 seconds",
        "timestamp": "2026-11-06T08:42:58.315+0000",
        "source": "acme-build",
        "custom_details": {"build_state": "passed", "build_number": "2"},
    },
    "links": [{"href": "https://acme.example/build/2", "text": "more"}, {"href": "javascript:alert(1)"}],
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the gateway and its Amazon share."""
    found = tmp_path_factory.mktemp("amazon")
    (found / "certificate.pem").write_text(certificate(rsa_key()))
    return found


@pytest.fixture(scope="module")
def amazon(prepared: str, free_ports: FreePorts, directory: Path) -> Iterator[RunningGateway]:
    """A gateway with the integrations above."""
    asyncio.run(publish(Kafka(prepared), RECORDS))
    program = ("tests.gateway.sns_gateway", str(directory))
    with running_gateway(prepared, free_base(free_ports), directory, *program) as running:
        wait_for(running.ready, "a ready gateway")
        yield running


@pytest.fixture
def visited(directory: Path) -> Callable[[], list[str]]:
    """The addresses that are visited from now on."""
    book = directory / "visited"
    book.write_text("")
    return lambda: book.read_text().splitlines()


def post(gateway: RunningGateway, path: str, body: bytes) -> tuple[int, dict[str, Any], str | None]:
    """Status, body and Retry-After of a request as SNS makes it."""
    headers = {"Content-Type": "text/plain; charset=UTF-8", "User-Agent": "Amazon Simple Notification Service Agent"}
    try:
        with urllib.request.urlopen(urllib.request.Request(gateway.url + path, body, headers), timeout=20) as answer:
            return answer.status, json.loads(answer.read()), None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers["Retry-After"]


def notify(gateway: RunningGateway, key: str, body: bytes) -> tuple[int, dict[str, Any], str | None]:
    """The same, for an SNS message."""
    return post(gateway, f"/api/integrations/cloudwatch?integrationId={key}", body)


async def test_a_certificate_that_cannot_be_fetched_is_503(
    amazon: RunningGateway, directory: Path, visited: Callable[[], list[str]]
) -> None:
    """SNS repeats what gets 503 with Retry-After; what it repeats is accepted once Amazon answers."""
    start = await ends(amazon.bootstrap)
    (directory / "away").touch()
    try:
        status, body, retry_after = notify(amazon, SNS_KEY, MESSAGE)
    finally:
        (directory / "away").unlink()
    assert (status, retry_after) == (503, "2")
    assert "certificate" in body["error"]
    assert await accepted_since(amazon.bootstrap, start) == []
    assert notify(amazon, SNS_KEY, MESSAGE)[0] == 202
    assert visited() == [CERTIFICATE_URL] * 2
    assert [event.body for _, event in await accepted_since(amazon.bootstrap, start)] == [MESSAGE]


async def test_a_subscription_confirms_itself(amazon: RunningGateway, visited: Callable[[], list[str]]) -> None:
    """A signed confirmation is answered 200 and its address visited; nothing of it is an alert."""
    start = await ends(amazon.bootstrap)
    assert notify(amazon, SNS_KEY, CONFIRM)[0] == 200
    wait_for(lambda: SUBSCRIBE_URL in visited(), "the visit")
    assert notify(amazon, LISTED_KEY, CONFIRM)[0] == 200
    wait_for(lambda: visited().count(SUBSCRIBE_URL) == 2, "the second visit")
    assert await accepted_since(amazon.bootstrap, start) == []


async def test_what_is_not_amazons_subscribes_to_nothing(
    amazon: RunningGateway, visited: Callable[[], list[str]]
) -> None:
    """Forged, foreign, disabled, unknown or unsubscribing: refused or answered, never visited, never stored."""
    start = await ends(amazon.bootstrap)
    forged = signed(CONFIRMATION, "1", CONFIRMING, Token="78")
    evil = {**CONFIRMATION, "SubscribeURL": "https://sns.evil.example/?Action=ConfirmSubscription&Token=77"}
    unsubscribe = signed({**CONFIRMATION, "Type": "UnsubscribeConfirmation"}, "1", CONFIRMING)
    assert notify(amazon, SNS_KEY, forged)[:2] == (401, {"error": "unauthorized", "reason": "bad_signature"})
    status, body, _ = notify(amazon, SNS_KEY, signed(evil, "1", CONFIRMING))
    assert (status, body["field"]) == (400, "SubscribeURL")
    status, body, _ = notify(amazon, OTHER_KEY, CONFIRM)
    assert (status, body["field"]) == (403, "TopicArn")
    assert notify(amazon, OFF_KEY, CONFIRM)[0] == 403
    assert notify(amazon, "0" * 32, CONFIRM)[0] == 401
    assert notify(amazon, SNS_KEY, unsubscribe)[0] == 200
    assert notify(amazon, SNS_KEY, signed(NOTIFICATION, "2", NAMES, Message="other"))[0] == 401
    assert notify(amazon, OTHER_KEY, MESSAGE)[0] == 403
    assert set(visited()) <= {CERTIFICATE_URL}
    assert await accepted_since(amazon.bootstrap, start) == []


async def _changes(gateway: RunningGateway, start: dict[int, int]) -> list[ChangeEvent]:
    return [decode_change(value) for _, value in await values_since(gateway.bootstrap, start, CHANGES.name)]


async def test_a_change_event_is_stored(amazon: RunningGateway) -> None:
    """PagerDuty's request gets PagerDuty's answer once the change is on `changes`; it is no alert."""
    alerts, start = await ends(amazon.bootstrap), await ends(amazon.bootstrap, CHANGES.name)
    body = json.dumps({"routing_key": CHANGE_KEY, **CHANGE}).encode()
    assert post(amazon, "/v2/change/enqueue", body)[:2] == (
        202,
        {"status": "success", "message": "Change event processed"},
    )
    (change,) = await _changes(amazon, start)
    assert (change.tenant, change.service, change.integration) == ("default", "shop", masked_key(CHANGE_KEY))
    assert (change.summary, change.source) == (CHANGE["payload"]["summary"], "acme-build")
    assert change.at == 1_793_954_578_315
    assert change.received_at == int.from_bytes(change.event_id[:6], "big")
    assert json.loads(change.details) == CHANGE["payload"]["custom_details"]
    assert change.links == [{"href": "https://acme.example/build/2", "text": "more"}]
    assert await accepted_since(amazon.bootstrap, alerts) == []


async def test_a_change_without_a_time_or_from_the_future_was_now(amazon: RunningGateway) -> None:
    """The time of arrival counts; details and links may be missing; a long summary is cut."""
    start = await ends(amazon.bootstrap, CHANGES.name)
    for payload in ({"summary": "x" * 2000}, {"summary": "s", "timestamp": "2199-01-01T00:00:00Z"}):
        body = json.dumps({"payload": payload}).encode()
        path = f"/api/integrations/change_events?integrationId={CHANGE_KEY}"
        assert post(amazon, path, body)[0] == 202
    changes = await _changes(amazon, start)
    assert [len(change.summary) for change in changes] == [1024, 1]
    assert all(change.at == change.received_at and change.details == b"" for change in changes)


async def test_a_refused_change_is_not_stored(amazon: RunningGateway) -> None:
    """No summary, details that are no object, a disabled and an unknown integration: 4xx, and nothing on Kafka."""
    start = await ends(amazon.bootstrap, CHANGES.name)

    def status(key: str, **payload: Any) -> int:
        body = json.dumps({"routing_key": key, "payload": payload}).encode()
        return post(amazon, "/v2/change/enqueue", body)[0]

    assert status(CHANGE_KEY, summary=" ") == 400
    assert status(CHANGE_KEY, summary="s", custom_details="text") == 400
    assert status(CHANGE_OFF_KEY, summary="s") == 403
    assert status("0" * 32, summary="s") == 401
    assert await _changes(amazon, start) == []
