"""What every answer has, and what is answered twice: headers, the console's files, Idempotency-Key, limits."""

from pathlib import Path

import pytest
from fastapi import FastAPI

from schemas.settings import Settings
from streams.api.limits import Limit
from streams.api.once import KEPT_S
from streams.api.static import is_built, serve_console
from tests.api.conftest import Client, MakeClient, parts
from tests.api.people import Browser, browsing, inhabited, person

ADA = person("ada", "owner")
VIEW = {"name": "mine", "query": "status=open"}


async def _saved(browser: Browser, key: str, body: dict[str, str] = VIEW) -> tuple[int, str]:
    answer = await browser("POST", "/views", body, idempotency_key=key)
    return answer.status_code, answer.text


async def test_browsers_run_and_keep_nothing() -> None:
    """The policy has no exception; answers of the API, errors too, are not stored."""
    stored = {"/api/v1/session": "no-store", "/api/v1/login-methods": "no-store", "/nothing": None}
    stored["/"] = "no-cache" if is_built() else None
    async with browsing(inhabited()) as browser:
        for path, kept in stored.items():
            headers = (await browser.client.get(path)).headers
            assert headers["content-security-policy"] == (
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
                "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
            )
            assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
            assert headers.get("cache-control") == kept


async def test_the_console_is_served_once_it_is_built(tmp_path: Path) -> None:
    """Without it the address says what is missing; its files are served by name, and nothing beside them."""
    (tmp_path / "secret.keys").write_text("x")
    folder = tmp_path / "static"
    for index, status, text in ((None, 503, "make console"), ("<p>hello</p>", 200, "hello")):
        if index:
            folder.mkdir()
            (folder / "index.html").write_text(index)
            (folder / "app.js").write_text("1")
        app = FastAPI()
        serve_console(app, folder)
        async with _client(app) as client:
            answer = await client.get("/")
            assert (answer.status_code, text in answer.text) == (status, True)
            assert (await client.get("/app.js")).status_code == (200 if index else 404)
            for path in ("/incidents", "/../secret.keys", "/%2e%2e/secret.keys", "/..%2fsecret.keys"):
                assert (await client.get(path)).status_code == 404


def _client(app: FastAPI) -> Client:
    import httpx2

    return Client(transport=httpx2.ASGITransport(app=app), base_url="http://stormweir")


async def test_a_repeated_request_is_done_once() -> None:
    """The same key gives the same answer; with another request it is refused; another caller has keys of their own."""
    made = inhabited(ADA, person("bob", "member"))
    async with browsing(made, "ada") as ada, browsing(made, "bob") as bob:
        first = await _saved(ada, "k")
        assert first[0] == 201
        assert await _saved(ada, "k") == first
        assert (await _saved(ada, "k", {**VIEW, "name": "other"}))[0] == 422
        assert (await _saved(ada, "k" * 201))[0] == 400
        assert (await _saved(bob, "k"))[1] != first[1]
        assert (await _saved(ada, "other"))[1] != first[1]
        assert len(made.memory.console.views) == 3


async def test_what_was_refused_may_be_sent_again() -> None:
    """A key keeps successes only, and nothing for a caller whose session has ended."""
    made = inhabited(ADA)
    async with browsing(made, "ada") as ada:
        assert (await _saved(ada, "k", {"name": "x"}))[0] == 422
        assert (await _saved(ada, "k"))[0] == 201
        made.memory.console.sessions.clear()
        assert (await _saved(ada, "k"))[0] == 401


async def test_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten minutes the same key is a new request."""
    made = inhabited(ADA)
    clock = 0.0
    monkeypatch.setattr("streams.api.once.time.monotonic", lambda: clock)
    async with browsing(made, "ada") as ada:
        first = await _saved(ada, "k")
        clock = KEPT_S - 1
        assert await _saved(ada, "k") == first
        clock = KEPT_S
        assert await _saved(ada, "k") != first


async def test_a_caller_has_so_many_requests(client: MakeClient) -> None:
    """429 says after how many seconds there is the next; another caller is not held up."""
    made = parts(limit=Limit(0.5, 3))
    viewer, admin = await client(made, "viewer"), await client(made, "admin")
    answers = [await viewer.get("/status") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"] == "2"
    assert (await admin.get("/status")).status_code == 200


def test_a_limit_fills_up_again() -> None:
    """As fast as it says, up to the burst; what was given back was never taken."""
    limit = Limit(2.0, 2)
    assert [limit.take("a", 0.0) for _ in range(3)] == [0, 0, 1]
    assert [limit.take("a", 0.5), limit.take("a", 0.5)] == [0, 1]
    assert [limit.take("a", 100.0) for _ in range(3)] == [0, 0, 1]
    limit.give_back("a")
    assert [limit.take("a", 100.0), limit.take("a", 100.0)] == [0, 1]


async def test_a_body_has_a_largest_size() -> None:
    """413, with a key or without."""
    made = inhabited(ADA)
    made.settings = Settings(max_body=1024)
    async with browsing(made, "ada") as ada:
        for headers in ({}, {"idempotency_key": "k"}):
            answer = await ada("POST", "/views", {"name": "x", "query": "y" * 2000}, **headers)
            assert answer.status_code == 413
