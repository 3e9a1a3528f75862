"""Logging in: what is accepted, what is refused, what is remembered, and when it ends."""

import pytest

from schemas.settings import Settings
from schemas.topics import DAY_MS, HOUR_MS
from streams.api.identity.sessions import IDLE_MS, LONGEST_MS
from streams.api.limits import Limit
from tests.api.people import LOCAL, PASSWORD, PUBLIC, browsing, inhabited, person

ADA = person("ada", "owner")
OTHERS = "https://elsewhere.example"


async def test_who_logs_in_has_a_session_until_it_is_ended() -> None:
    """The cookie is the session; without it, and once it is ended, nobody calls."""
    async with browsing(inhabited(ADA)) as browser:
        assert (await browser("GET", "/session")).status_code == 401
        assert (await browser.log_in("Ada")).status_code == 204
        shown = (await browser("GET", "/session")).json()
        assert (shown["login"], shown["tenant"], shown["role"], shown["csrf"]) == ("ada", "default", "owner", None)
        kept = dict(browser.client.cookies)
        assert (await browser("DELETE", "/session")).status_code == 204
        assert not browser.client.cookies
        browser.client.cookies.update(kept)
        assert (await browser("GET", "/session")).status_code == 401


@pytest.mark.parametrize(
    ("base", "cookie"),
    [
        (LOCAL, "stormweir=; HttpOnly; Path=/; SameSite=lax"),
        ("http://localhost:8405", "stormweir=; HttpOnly; Path=/; SameSite=lax"),
        (PUBLIC, "__Host-stormweir=; HttpOnly; Path=/; SameSite=lax; Secure"),
        ("http://stormweir.example.com", "__Host-stormweir=; HttpOnly; Path=/; SameSite=lax; Secure"),
    ],
)
async def test_the_cookie_is_secure_but_on_loopback(base: str, cookie: str) -> None:
    """Scripts cannot read it, other sites do not send it, and no other host or path has it."""
    async with browsing(inhabited(ADA), base=base) as browser:
        header = (await browser.log_in("ada")).headers["set-cookie"]
        (name, value), *rest = ([*part.split("=", 1), ""][:2] for part in header.split("; "))
        assert len(value) > 40
        found = "; ".join([f"{name}=", *(f"{key}={text}" if text else key for key, text in rest if key != "Max-Age")])
        assert found == cookie


async def test_a_wrong_password_and_an_unknown_login_are_one_answer() -> None:
    """Nobody learns who has an account; a disabled one, and one without a password, cannot log in."""
    made = inhabited(ADA, person("bob", "member", enabled=False), person("cy", "member", password=None))
    async with browsing(made) as browser:
        answers = [await browser.log_in(login, password) for login, password in (
            ("ada", "wrong"), ("nobody", PASSWORD), ("bob", PASSWORD), ("cy", PASSWORD), ("cy", "nobody"),
        )]  # fmt: skip
        assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert [(entry.actor, entry.action, entry.outcome) for entry in made.memory.audit] == [
        (login, "log_in", "wrong_password") for login in ("ada", "", "bob", "cy", "cy")
    ]


async def test_guessing_is_limited_by_login_and_by_address() -> None:
    """429 says when to try again, also with the right password; other logins are free until the address is not."""
    made = inhabited(ADA, person("bob", "member"))
    async with browsing(made) as browser:
        answers = [(await browser.log_in("ada", "wrong")).status_code for _ in range(11)]
        assert answers == [401] * 10 + [429]
        refused = await browser.log_in("ada")
        assert (refused.status_code, refused.headers["retry-after"].isdecimal()) == (429, True)
        assert (await browser.log_in("bob")).status_code == 204
        made.addresses = Limit(0.001, 1)
        assert [(await browser.log_in(f"u{n}", "wrong")).status_code for n in range(2)] == [401, 429]


async def test_logging_in_rightly_is_not_guessing() -> None:
    """Twenty right passwords in a row are no reason to refuse the next."""
    async with browsing(inhabited(ADA)) as browser:
        assert {(await browser.log_in("ada")).status_code for _ in range(20)} == {204}


async def test_a_session_ends_when_idle_and_in_any_case() -> None:
    """Use keeps it for 12 hours more, but not beyond 7 days."""
    made = inhabited(ADA)
    async with browsing(made, "ada") as browser:
        made.memory.now += IDLE_MS - 1
        assert (await browser("GET", "/session")).status_code == 200
        made.memory.now += IDLE_MS - 1
        assert (await browser("GET", "/session")).status_code == 200
        made.memory.now += IDLE_MS
        assert (await browser("GET", "/session")).status_code == 401
    async with browsing(made, "ada") as browser:
        for _ in range(LONGEST_MS // (6 * HOUR_MS) - 1):
            made.memory.now += 6 * HOUR_MS
            assert (await browser("GET", "/session")).status_code == 200
        made.memory.now += 6 * HOUR_MS
        assert (await browser("GET", "/session")).status_code == 401
        await made.sessions.delete_ended()
        assert made.memory.console.sessions == {}
        assert made.memory.console.seen
        made.memory.now += 61 * DAY_MS
        await made.sessions.delete_ended()
        assert made.memory.console.seen == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 201),
        ({"origin": LOCAL}, 201),
        ({"sec-fetch-site": "same-site", "origin": LOCAL}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": OTHERS}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({}, 403),
    ],
)
async def test_other_sites_change_nothing(headers: dict[str, str], status: int) -> None:
    """A request that could change something, with a cookie, comes from the console itself or is refused."""
    async with browsing(inhabited(ADA), "ada") as browser:
        view = {"name": "mine", "query": "status=open"}
        answer = await browser.client.post("/api/v1/views", json=view, headers=headers)
        assert answer.status_code == status
        assert (await browser.client.get("/api/v1/session", headers=headers)).status_code == 200


async def test_other_sites_log_nobody_in() -> None:
    """A page elsewhere cannot make a browser another person's; a program that is no browser may log in."""
    async with browsing(inhabited(ADA)) as browser:
        credentials = {"login": "ada", "password": PASSWORD}
        answer = await browser.client.post("/api/v1/session", json=credentials, headers={"origin": OTHERS})
        assert answer.status_code == 403
        assert (await browser.client.post("/api/v1/session", json=credentials)).status_code == 204


async def test_who_may_not_call_any_more_is_refused_at_once() -> None:
    """A disabled account, one whose password was reset, and a session that an admin ended."""
    made = inhabited(ADA, person("bob", "member"))
    async with browsing(made, "ada") as ada, browsing(made, "bob") as bob:
        assert (await bob("GET", "/session")).status_code == 200
        sessions = (await ada("GET", "/sessions")).json()["items"]
        (own,) = (await bob("GET", "/sessions")).json()["items"]
        assert {each["login"] for each in sessions} == {"ada", "bob"}
        assert (own["login"], own["current"], own["agent"][:13]) == ("bob", True, "python-httpx2")
        theirs = next(each["id"] for each in sessions if each["login"] == "ada")
        assert (await bob("DELETE", f"/sessions/{theirs}")).status_code == 404
        assert (await ada("DELETE", f"/sessions/{own['id']}")).status_code == 204
        assert (await bob("GET", "/session")).status_code == 401
        assert (await bob.log_in("bob")).status_code == 204
        assert (await ada("PATCH", "/accounts/id-bob", {"enabled": False})).status_code == 200
        assert (await bob("GET", "/session")).status_code == 401
        assert (await ada("PATCH", "/accounts/id-bob", {"enabled": True})).status_code == 200
        assert (await bob("GET", "/session")).status_code == 401
        assert (await bob.log_in("bob")).status_code == 204
        assert (await ada("POST", "/accounts/id-bob/invitation")).status_code == 200
        assert (await bob("GET", "/session")).status_code == 401
        assert (await bob.log_in("bob")).status_code == 401


async def test_a_changed_password_ends_the_other_sessions() -> None:
    """The present password is asked for; the browser in which it was changed stays logged in."""
    made = inhabited(ADA)
    async with browsing(made, "ada") as here, browsing(made, "ada") as there:
        wanted = {"current": "wrong", "password": "another long one"}
        assert (await here("PUT", "/session/password", wanted)).json()["errors"][0]["path"] == "current"
        short = {"current": PASSWORD, "password": "short"}
        assert (await here("PUT", "/session/password", short)).status_code == 422
        assert (await there("GET", "/session")).status_code == 200
        assert (await here("PUT", "/session/password", {**wanted, "current": PASSWORD})).status_code == 204
        assert (await here("GET", "/session")).status_code == 200
        assert (await there("GET", "/session")).status_code == 401
        assert (await there.log_in("ada")).status_code == 401
        assert (await there.log_in("ada", "another long one")).status_code == 204


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        ("", "203.0.113.7", "127.0.0.1"),
        ("127.0.0.0/8", "", "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.0/8", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.0/8,10.0.0.0/8", "203.0.113.7,10.1.2.3", "203.0.113.7"),
        ("127.0.0.0/8,10.0.0.0/8", "10.1.2.4, 10.1.2.3", "10.1.2.4"),
        ("127.0.0.0/8,2001:db8::/32", "::1 , 2001:db8::2", "::1"),
        ("127.0.0.0/8", "203.0.113.7, nonsense", "127.0.0.1"),
    ],
)
async def test_only_trusted_proxies_say_where_a_request_comes_from(proxies: str, forwarded: str, address: str) -> None:
    """What the last trusted proxy saw counts; what a client wrote before it does not."""
    settings = Settings.from_env({"STORMWEIR_TRUSTED_PROXIES": proxies})
    async with browsing(inhabited(ADA, settings=settings)) as browser:
        await browser("POST", "/session", {"login": "ada", "password": PASSWORD}, x_forwarded_for=forwarded)
        (session,) = (await browser("GET", "/sessions")).json()["items"]
        assert session["address"] == address
