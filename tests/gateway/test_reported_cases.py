"""Cases of public reports: what real tools send although no page of theirs says so, and what becomes of it here."""

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from schemas.settings import Settings
from schemas.topics import REJECTIONS
from schemas.wire.alert import Action, RawEvent
from schemas.wire.codec import decode_rejection
from schemas.wire.rejection import Rejection
from streams.gateway.body import LARGE_BYTES
from streams.providers import PROVIDERS, QUERY
from streams.providers._contract import Draft
from streams.stages.normalize import _mapping as mapping_of_request
from tests.conftest import FreePorts, free_base
from tests.gateway.conftest import (
    EVENTS_KEY,
    FORM_KEY,
    PROMETHEUS_KEY,
    RunningGateway,
    accepted_since,
    ends,
    running_gateway,
    values_since,
    wait_for,
)
from tests.gateway.senders import key

pytestmark = pytest.mark.broker

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def drafts(event: RawEvent) -> list[Draft]:
    """What the stream makes of a stored request."""
    return PROVIDERS[event.provider].drafts(event, mapping_of_request(event))


async def taken(
    senders: RunningGateway, target: str, body: bytes = b"", method: str = "POST", **headers: str
) -> tuple[RawEvent, Draft, Any]:
    """The request is accepted and has one alert: what was stored, the alert, and the answer."""
    start = await ends(senders.bootstrap)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, URL(senders.url + target, encoded=True), data=body or None, headers=sent) as answer,
    ):
        told = await answer.json()
        assert answer.status == 202, told
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    (draft,) = drafts(event)
    return event, draft, told


def hook(slug: str, sender: str | None = None) -> str:
    """The URL of an integration, without the gateway's."""
    return f"/api/integrations/{slug}?integrationId={sender or key(slug)}"


LATIN_FORM = (
    b"notification_type=PROBLEM&host_name=win-3&host_address=192.0.2.7&service_desc=Drucker&state=CRITICAL"
    b"&output=Ger%E4t+nicht+verf%FCgbar&timestamp=1793954578"
)
LATIN_JSON = (
    '{"notification_type":"PROBLEM","host":{"name":"win-3"},"service":{"name":"win-3!Drucker"},'
    '"check_result":{"state":"CRITICAL","output":"Gerät nicht verfügbar"}}'
)


@pytest.mark.parametrize(
    ("slug", "body", "content_type"),
    [
        ("nagios", LATIN_FORM, FORM),
        ("nagios", LATIN_FORM.replace(b"%E4", b"\xe4").replace(b"%FC", b"\xfc"), FORM),
        ("nagios", LATIN_FORM.replace(b"%E4", b"%C3%A4").replace(b"%FC", b"%C3%BC"), FORM),
        ("nagios", LATIN_FORM, f"{FORM}; charset=ISO-8859-15"),
        ("icinga", LATIN_JSON.encode("latin-1"), JSON),
        ("icinga", LATIN_JSON.encode("latin-1"), f"{JSON}; charset=ISO-8859-1"),
        ("icinga", LATIN_JSON.encode("utf-16"), f"{JSON}; charset=utf-16"),
        ("icinga", LATIN_JSON.encode("utf-16-le"), JSON),
        ("icinga", LATIN_JSON.encode("utf-8-sig"), JSON),
        ("icinga", LATIN_JSON.encode("cp850"), 'text/plain; Charset="cp850"'),
    ],
)
async def test_text_in_another_charset_is_read(
    senders: RunningGateway, slug: str, body: bytes, content_type: str
) -> None:
    """Case 11: the charset that is declared counts, else UTF-8, else Latin-1; what is stored is good JSON."""
    _, draft, _ = await taken(senders, hook(slug), body, content_type=content_type)
    assert "Gerät nicht verfügbar" in draft.summary + draft.details.decode()
    json.loads(draft.details)


@pytest.mark.parametrize(
    ("target", "body", "dedup_key", "text"),
    [
        (
            "/v2/enqueue",
            b'{"routing_key":"%b","event_action":"trigger","dedup_key":"emoji","payload":{"summary":"Deploy failed '
            b'\\ud83d","source":"ci","severity":"error","custom_details":{"log":"\\ude00 x"}}}' % EVENTS_KEY.encode(),
            "emoji",
            "Deploy failed \ufffd",
        ),
        (
            hook("webhook"),
            b'{"summary":"Deploy failed \\ud83d\\ud83d\\ude00","dedup_key":"d-1","action":"firing","x":"\\\\ud83d"}',
            "d-1",
            "Deploy failed \ufffd\U0001f600",
        ),
        (
            hook("webhook"),
            '{"summary":"cut \U0001f600","dedup_key":"d-2"}'.encode().replace(b'\x80"', b'"'),
            "d-2",
            "cut \ufffd",
        ),
        (
            hook("webhook"),
            b'{"summary":"No data","dedup_key":"p-7","value":NaN,"limit":[-Infinity,"NaN"],"action":"firing"}',
            "p-7",
            "No data",
        ),
        (
            hook("webhook"),
            b'{"summary":"C:\\Windows is full\tnow","dedup_key":"p-8","tags":["a",],}',
            "p-8",
            "C:\\Windows is full\tnow",
        ),
    ],
)
async def test_json_that_is_nearly_right_is_read(
    senders: RunningGateway, target: str, body: bytes, dedup_key: str, text: str
) -> None:
    """Cases 25 and 40: half an emoji is U+FFFD, NaN is null, a comma too many is none; details are good JSON."""
    _, draft, _ = await taken(senders, target, body, content_type=JSON)
    assert (draft.dedup_key, draft.summary) == (dedup_key, text)
    details = json.loads(draft.details)
    assert details.get("value") is None
    assert details.get("limit", [None, "NaN"]) == [None, "NaN"]


async def test_a_template_that_escapes_nothing_is_read(senders: RunningGateway) -> None:
    """Case 29: a placeholder of JSON in quotation marks, and quotation marks and line breaks inside texts."""
    quoted = (
        b'{"State":"OPEN","PID":"811_1793954578315V2","ProblemID":"P-77","ProblemTitle":"Failure rate increase",'
        b'"ProblemSeverity":"ERROR","ImpactedEntities":"[{"type":"SERVICE","name":"basket","entity":"SERVICE-1"}]",'
        b'"ProblemURL":"https://example.com/p/77"}'
    )
    _, draft, _ = await taken(senders, hook("dynatrace"), quoted, content_type=JSON)
    assert json.loads(draft.details)["ImpactedEntities"] == [
        {"type": "SERVICE", "name": "basket", "entity": "SERVICE-1"}
    ]
    bare = (
        b'{"State":"OPEN","PID":"812_1793954578315V2","ProblemID":"P-78","ProblemTitle":"Process "java" is down",'
        b'"ProblemSeverity":"AVAILABILITY","ImpactedEntityNames":"jobs\nqueue"}'
    )
    _, draft, _ = await taken(senders, hook("dynatrace"), bare, content_type="text/plain")
    assert 'Process "java" is down' in draft.summary


async def test_a_charset_is_no_content_encoding(senders: RunningGateway) -> None:
    """Case 31: `Content-Encoding: UTF-8` is a body as it is; an unknown encoding stays refused."""
    body = b'{"summary":"Batch job late","dedup_key":"b-3","action":"firing"}'
    _, draft, _ = await taken(senders, hook("webhook"), body, content_type=JSON, content_encoding="UTF-8")
    assert draft.dedup_key == "b-3"
    async with aiohttp.ClientSession(senders.url) as http:
        headers = {"Content-Encoding": "br"}
        async with http.post(hook("webhook"), data=body, headers=headers) as answer:
            assert answer.status == 415


@pytest.mark.parametrize("after", ["", "?", "&", "/?", "/&"])
async def test_what_follows_the_key_is_not_its(senders: RunningGateway, after: str) -> None:
    """Case 24: UptimeRobot puts its parameters right behind the URL; the key is not stored with them."""
    query = "monitorID=5501&monitorFriendlyName=Till&alertType=1&alertDetails=Timeout&alertDateTime=1793954578"
    event, draft, _ = await taken(senders, f"{hook('uptimerobot')}{after}{query}", method="GET")
    assert draft.dedup_key == "uptimerobot|5501"
    assert event.headers[QUERY] == query


async def test_a_form_reads_through_the_mapping(senders: RunningGateway) -> None:
    """Case 33: StatusCake's form triggers and resolves, and so does a GET with a query; an empty one opens nothing."""
    body = b"Token=8a6b&Status=%b&StatusCode=0&URL=https%%3A%%2F%%2Ftill.example.com&Name=Till&Tags=shop"
    target = hook("webhook", FORM_KEY)
    for word, action in ((b"Down", Action.TRIGGER), (b"Up", Action.RESOLVE)):
        _, draft, _ = await taken(senders, target, body % word, content_type=FORM)
        assert (draft.action, draft.dedup_key, draft.summary) == (action, "https://till.example.com", "Till")
        assert json.loads(draft.details)["Tags"] == "shop"
        _, draft, _ = await taken(senders, f"{target}&{(body % word).decode()}", method="GET")
        assert (draft.action, draft.dedup_key) == (action, "https://till.example.com")
    async with aiohttp.ClientSession(senders.url) as http, http.get(target) as answer:
        assert answer.status == 400


async def test_json_is_no_form_although_curl_says_so(senders: RunningGateway) -> None:
    """`curl -d` and urllib declare a form, whatever they send."""
    _, draft, _ = await taken(senders, hook("webhook"), b' {"summary":"x=1","dedup_key":"k"}', content_type=FORM)
    assert (draft.dedup_key, draft.summary) == ("k", "x=1")


ALERTMANAGER = json.dumps(
    {
        "version": "4",
        "groupKey": "{}",
        "status": "firing",
        "alerts": [{"status": "firing", "labels": {"alertname": "DiskFull"}, "fingerprint": "5c1d2e3f4a5b6c7d"}],
    }
).encode()
EVENT = json.dumps(
    {
        "routing_key": EVENTS_KEY,
        "event_action": "trigger",
        "dedup_key": "queue/mail",
        "payload": {"summary": "Queue mail has 900 messages", "source": "mail-1", "severity": "error"},
    }
).encode()


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (f"/api/integrations/prometheus/?integrationId={PROMETHEUS_KEY}", ALERTMANAGER),
        (f"//api//integrations/prometheus//?integrationId={PROMETHEUS_KEY}", ALERTMANAGER),
        ("//v2/enqueue", EVENT),
        ("/v2/enqueue/", EVENT),
    ],
)
async def test_a_slash_too_many_changes_no_address(senders: RunningGateway, target: str, body: bytes) -> None:
    """Case 30: joined base URLs and frameworks that append a slash reach the same route."""
    await taken(senders, target, body, content_type=JSON)


async def rejections_after(senders: RunningGateway, start: dict[int, int], count: int) -> list[Rejection]:
    """The rows of the topic since `start`, once there are so many."""
    deadline = time.monotonic() + 20
    while True:
        found = [decode_rejection(value) for _, value in await values_since(senders.bootstrap, start, REJECTIONS.name)]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found


async def test_an_unknown_path_of_ours_is_a_row_by_its_shape(senders: RunningGateway) -> None:
    """Case 30: the row has the part that is an address, never what the sender chose; other paths are no rows."""
    start = await ends(senders.bootstrap, REJECTIONS.name)
    async with aiohttp.ClientSession(senders.url) as http:
        for path in ("/nothing/of/ours", f"/api/integrations/{'c' * 32}", "/api/integrations/nosuch", "/v2/a/b/c/d/e"):
            async with http.post(path, data=b"{}") as answer:
                assert (answer.status, (await answer.json())["error"]) == (404, "no such route")
    found = await rejections_after(senders, start, 2)
    assert {(row.route, row.reason, row.status, row.count) for row in found} == {
        ("/api/integrations/{}", "not_found", 404, 2),
        ("/v2/{}/{}/{}/...", "not_found", 404, 1),
    }


async def test_an_opsgenie_request_can_be_asked_for(senders: RunningGateway, prepared: str) -> None:
    """Case 08: created with a slash at the end, asked for, closed; an id that was not given is 404."""
    genie = {"Authorization": f"GenieKey {key('opsgenie')}"}
    async with aiohttp.ClientSession(senders.url, headers=genie) as http:
        _, draft, told = await taken(
            senders, "/v2/alerts/", b'{"message":"Disk full","alias":"5501"}', content_type=JSON, **genie
        )
        request = told["requestId"]
        assert draft.dedup_key == "5501"
        async with http.get(f"/v2/alerts/requests/{request}") as answer:
            status = await answer.json()
            assert answer.status == 200
        assert status["requestId"] == request
        assert status["data"] | {"success": True, "isSuccess": True} == status["data"]
        assert (status["data"]["action"], status["data"]["status"]) == ("Create", "Created alert")
        assert (status["data"]["alias"], status["data"]["alertId"]) == ("5501", "5501")
        for wrong in ("019a0000-0000-7000-8000-000000000001", request[:-1] + ("0" if request[-1] != "0" else "1"), "X"):
            async with http.get(f"/v2/alerts/requests/{wrong}/") as answer:
                assert (answer.status, (await answer.json())["message"]) == (404, "no such request")
        async with http.get(
            f"/v2/alerts/requests/{request}", headers={"Authorization": f"GenieKey {EVENTS_KEY}"}
        ) as answer:
            assert answer.status == 401
        close = "//v2/alerts//5501/close/?identifierType=alias".replace("//5501", "/5501")
        _, draft, told = await taken(senders, close, b'{"user":""}', content_type=JSON, **genie)
        assert (draft.action, draft.dedup_key) == (Action.RESOLVE, "5501")
        async with http.get(f"/v2/alerts/requests/{told['requestId']}") as answer:
            assert (await answer.json())["data"]["action"] == "Close"


async def test_another_gateway_knows_an_opsgenie_request(
    senders: RunningGateway, free_ports: FreePorts, tmp_path: Path
) -> None:
    """Case 08: the id says by itself that it was given, so that a restart or another process changes nothing.

    Only which alert it was is not known there. Asking takes nothing of the sender's rate limit.
    """
    genie = {"Authorization": f"GenieKey {key('opsgenie')}"}
    _, _, told = await taken(senders, "/v2/alerts", b'{"message":"m","alias":"a"}', content_type=JSON, **genie)
    with running_gateway(senders.bootstrap, free_base(free_ports), tmp_path) as other:
        wait_for(other.ready, "a second gateway")
        async with (
            aiohttp.ClientSession(headers=genie) as http,
            http.get(f"{other.url}/v2/alerts/requests/{told['requestId']}") as answer,
        ):
            found = await answer.json()
            assert (answer.status, found["data"]["success"], found["data"]["action"]) == (200, True, "Create")
            assert (found["data"]["alertId"], found["data"]["alias"]) == (told["requestId"], "")


def storm(size: int) -> bytes:
    """An Alertmanager group of exactly so many bytes."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "InterfaceDown", "severity": "critical"},
        "annotations": {"description": "No light for 2 minutes. Look at the line card before the cable. " * 4},
        "startsAt": "2026-11-06T08:42:58.315Z",
    }
    count = (size - 200) // (len(json.dumps({**alert, "fingerprint": "0" * 16})) + 2)
    body: dict[str, Any] = {"version": "4", "groupKey": "{}", "status": "firing", "pad": ""}
    body["alerts"] = [{**alert, "fingerprint": f"{number:016x}"} for number in range(count)]
    missing = size - len(json.dumps(body))
    return json.dumps({**body, "pad": "x" * missing}).encode()


async def test_the_storm_itself_is_taken(prepared: str, free_ports: FreePorts, tmp_path: Path) -> None:
    """Case 07: a group of 1.5 MB and one of exactly the default maximum are stored; one byte more is 413."""
    limit = Settings().max_body
    assert limit == 4 * 1024 * 1024
    hook = f"/api/integrations/prometheus?integrationId={PROMETHEUS_KEY}"
    with running_gateway(prepared, free_base(free_ports), tmp_path, max_body=limit) as gateway:
        wait_for(gateway.ready, "a gateway")
        start = await ends(prepared)
        async with aiohttp.ClientSession(gateway.url) as http:
            for size in (1_500_000, limit):
                async with http.post(hook, data=io.BytesIO(storm(size))) as answer:
                    assert answer.status == 202, await answer.text()
        url = URL(gateway.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"POST {hook} HTTP/1.1\r\nHost: x\r\nContent-Length: {limit + 1}\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"413"
        writer.close()
        found = [event for _, event in await accepted_since(prepared, start)]
    assert sorted(len(event.body) for event in found) == [1_500_000, limit]
    assert all(len(drafts(event)) > 2_500 for event in found)


async def test_large_bodies_are_bounded_in_all(prepared: str, free_ports: FreePorts, tmp_path: Path) -> None:
    """Senders that hold more than LARGE_BYTES unfinished are answered 503, small bodies are taken meanwhile, and
    once they are gone large ones are, too.
    """
    limit = Settings().max_body
    hook = f"/api/integrations/prometheus?integrationId={PROMETHEUS_KEY}"
    with running_gateway(prepared, free_base(free_ports), tmp_path, max_body=limit) as gateway:
        wait_for(gateway.ready, "a gateway")
        url = URL(gateway.url)
        head = f"POST {hook} HTTP/1.1\r\nHost: x\r\nContent-Length: {limit}\r\n\r\n".encode()
        holders = []
        for _ in range(LARGE_BYTES // (limit - 10) + 2):
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(head + b" " * (limit - 10))
            holders.append((reader, writer))
        lines = {asyncio.create_task(reader.readline()) for reader, _ in holders}
        done, waiting = await asyncio.wait(lines, return_when=asyncio.FIRST_COMPLETED, timeout=9)
        assert done
        assert {task.result().split()[1] for task in done} == {b"503"}
        async with aiohttp.ClientSession(gateway.url) as http:
            async with http.post(hook, data=ALERTMANAGER) as answer:
                assert answer.status == 202
            for task in waiting:
                task.cancel()
            for _, writer in holders:
                writer.close()
            deadline = time.monotonic() + 20
            while True:
                async with http.post(hook, data=io.BytesIO(storm(limit))) as answer:
                    if answer.status == 202:
                        break
                    # Beside much else, a body may take longer than the gateway waits for one.
                    assert answer.status == 408 or (answer.status, answer.headers["Retry-After"]) == (503, "2")
                assert time.monotonic() < deadline


async def test_a_body_that_is_no_json_is_400_as_pagerduty_answers_it(senders: RunningGateway) -> None:
    """Nobody can say whose it is: `errors` tells the sender, who would look for a wrong key after a 401."""
    async with aiohttp.ClientSession(senders.url) as http, http.post("/v2/enqueue", data=b"late") as answer:
        told = await answer.json()
        assert (answer.status, told["status"]) == (400, "invalid event")
        assert told["errors"][0].startswith("body: ")
