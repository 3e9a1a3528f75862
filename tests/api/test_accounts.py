"""Accounts, invitations and tokens: who may make what, and what becomes of it."""

import re
from typing import Any

import pytest

from schemas.control import Account
from schemas.topics import DAY_MS
from schemas.wire.console import SetupLink
from streams.control.accounts import hash_of
from tests.api.people import PASSWORD, Answer, Browser, browsing, inhabited, person

ADA = person("ada", "owner")
EVE = person("eve", "admin")
BOB = person("bob", "member")
NEW = {"password": "a long enough one", "name": "Cy"}


async def test_the_first_owner_is_made_by_the_link_once() -> None:
    """The account is logged in at once; no second one is made by this link, another one, or after a day."""
    made = inhabited()
    for name, end in (("one", DAY_MS), ("two", DAY_MS), ("old", 0)):
        link = SetupLink(tenant="default", expires_at=made.memory.now + end)
        await made.store.put(f"setup/{hash_of(name)}", link)
    async with browsing(made) as browser:
        assert (await browser("GET", "/login-methods")).json() == {"password": True, "oidc": None, "setup_needed": True}
        for token in ("none", "old"):
            assert (await browser("POST", "/setup", {"token": token, "login": "ada", **NEW})).status_code == 410
        wrong = await browser("POST", "/setup", {"token": "one", "login": "a:b", **NEW})
        assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "login")
        assert (await browser("POST", "/setup", {"token": "one", "login": "ada", **NEW})).status_code == 204
        assert (await browser("GET", "/session")).json()["role"] == "owner"
        assert not (await browser("GET", "/login-methods")).json()["setup_needed"]
        for token in ("one", "two"):
            assert (await browser("POST", "/setup", {"token": token, "login": "mallory", **NEW})).status_code == 410
    assert [(entry.actor, entry.action, entry.kind) for entry in made.memory.audit] == [
        ("ada", "created", "account"),
        ("ada", "logged_in", "account"),
    ]


async def test_an_invitation_sets_a_password_once_within_a_day() -> None:
    """Who is invited chooses a password, not a login; the link is taken once, and ends after a day."""
    made = inhabited(ADA)
    async with browsing(made, "ada") as ada, browsing(made) as cy:
        invited = await ada("POST", "/accounts", {"login": "Cy@example.com", "role": "member"})
        assert (invited.status_code, invited.json()["login"]) == (201, "cy@example.com")
        token = _token(invited)
        other = await cy("POST", "/setup", {"token": token, "login": "root", **NEW})
        assert other.json()["errors"] == [{"path": "login", "message": "this link is for cy@example.com"}]
        assert (await cy("POST", "/setup", {"token": token, **NEW})).status_code == 204
        assert (await cy("GET", "/session")).json()["name"] == "Cy"
        assert (await cy("POST", "/setup", {"token": token, **NEW})).status_code == 410
        again = _token(await ada("POST", f"/accounts/{invited.json()['id']}/invitation"))
        made.memory.now += DAY_MS
        assert (await cy("POST", "/setup", {"token": again, **NEW})).status_code == 410
    stored = made.control.every(Account)["default", invited.json()["id"]]
    assert stored.invitation == hash_of(again)


def _token(answer: Answer) -> str:
    found = re.fullmatch(r"http://127\.0\.0\.1:8405/#/setup\?token=(swi_[\w-]{43})", answer.json()["invitation_url"])
    assert found, answer.text
    return found[1]


async def test_an_admin_does_nothing_to_an_owner() -> None:
    """An admin makes, changes, invites and deletes everybody else, and cannot rise."""
    made = inhabited(ADA, person("ann", "owner"), EVE, BOB)
    async with browsing(made, "eve") as eve:
        refused = [
            await eve("POST", "/accounts", {"login": "x", "role": "owner"}),
            await eve("PATCH", "/accounts/id-bob", {"role": "owner"}),
            await eve("PATCH", "/accounts/id-eve", {"role": "owner"}),
            await eve("PATCH", "/accounts/id-ada", {"enabled": False}),
            await eve("PATCH", "/accounts/id-ada", {"role": "viewer"}),
            await eve("POST", "/accounts/id-ada/invitation"),
            await eve("DELETE", "/accounts/id-ada"),
        ]
        assert [answer.status_code for answer in refused] == [403] * 7
        assert (await eve("PATCH", "/accounts/id-bob", {"role": "admin"})).json()["role"] == "admin"
        assert (await eve("DELETE", "/accounts/id-bob")).status_code == 204
    assert [entry.action for entry in made.memory.audit if entry.outcome == "done"] == [
        "logged_in", "changed", "deleted",
    ]  # fmt: skip
    assert sum(entry.outcome == "forbidden" for entry in made.memory.audit) == 7


@pytest.mark.parametrize("change", [{"enabled": False}, {"role": "admin"}, None])
async def test_the_last_owner_stays(change: dict[str, Any] | None) -> None:
    """Not even itself can take a tenant's last owner away; with a second one it may go."""
    made = inhabited(ADA, EVE, person("off", "owner", enabled=False), person("far", "owner", tenant="acme"))
    method = "DELETE" if change is None else "PATCH"
    async with browsing(made, "ada") as ada:
        refused = await ada(method, "/accounts/id-ada", change)
        assert (refused.status_code, refused.json()["detail"].split(": ", 1)[1]) == (
            422,
            "ada is the last owner of the tenant default",
        )
        assert (await ada("PATCH", "/accounts/id-eve", {"role": "owner"})).status_code == 200
        assert (await ada(method, "/accounts/id-ada", change)).status_code in (200, 204)


async def test_a_login_is_anybodys_once() -> None:
    """Also over tenants, in whatever letters."""
    made = inhabited(ADA, person("far", "owner", tenant="acme"))
    async with browsing(made, "ada") as ada:
        for login in ("ADA", "far"):
            taken = await ada("POST", "/accounts", {"login": login})
            assert (taken.status_code, taken.json()["errors"][0]["path"]) == (422, "login")


async def test_a_token_calls_as_its_maker_may() -> None:
    """It is shown once, needs no Origin, does no more than its role and its maker's present one, and makes no token."""
    made = inhabited(ADA, person("dan", "admin"))
    async with browsing(made, "dan") as dan, browsing(made, "ada") as ada, browsing(made) as program:
        assert (await dan("POST", "/tokens", {"name": "x", "role": "owner"})).status_code == 422
        answer = await dan("POST", "/tokens", {"name": "deploy", "role": "admin"})
        token, shown = answer.json().pop("token"), answer.json()
        assert re.fullmatch(r"swt_[\w-]{43}", token)
        assert token.startswith(shown["prefix"])
        bearer = {"authorization": f"Bearer {token}", "sec_fetch_site": "cross-site"}
        session = (await program("GET", "/session", **bearer)).json()
        assert (session["login"], session["role"], session["expires_at"]) == ("token:deploy", "admin", None)
        assert (await program("POST", "/views", {"name": "v", "query": ""}, **bearer)).status_code == 201
        assert (await program("POST", "/tokens", {"name": "y"}, **bearer)).status_code == 403
        assert (await program("GET", "/accounts", **bearer)).status_code == 200
        (listed,) = (await ada("GET", "/tokens")).json()["items"]
        assert listed["last_used_at"] == "2026-11-18T11:06:40.000Z"
        assert token not in (await ada("GET", "/tokens")).text
        assert (await ada("PATCH", "/accounts/id-dan", {"role": "viewer"})).status_code == 200
        assert (await program("GET", "/session", **bearer)).json()["role"] == "viewer"
        assert (await ada("PATCH", "/accounts/id-dan", {"enabled": False})).status_code == 200
        assert (await program("GET", "/session", **bearer)).status_code == 401


async def test_a_token_ends_when_it_expires_or_is_deleted() -> None:
    """And with its maker's account. A wrong token is not made up for by a cookie."""
    made = inhabited(ADA, BOB)
    async with browsing(made, "bob") as bob, browsing(made, "ada") as ada:
        past = await bob("POST", "/tokens", {"name": "x", "expires_at": "2026-11-18T11:06:40Z"})
        assert past.json()["errors"][0]["path"] == "expires_at"
        tokens = [await _made(bob, expires_at="2026-11-18T12:06:40Z"), await _made(bob), await _made(bob)]
        foreign = await _made(ada)
        bearers = [{"authorization": f"Bearer {each['token']}"} for each in tokens]
        assert [(await bob("GET", "/session", **bearer)).status_code for bearer in bearers] == [200] * 3
        made.memory.now += 3_600_000
        assert (await bob("GET", "/session", **bearers[0])).status_code == 401
        assert (await bob("DELETE", f"/tokens/{foreign['id']}")).status_code == 404
        assert (await bob("DELETE", f"/tokens/{tokens[1]['id']}")).status_code == 204
        assert (await bob("GET", "/session", **bearers[1])).status_code == 401
        assert {each["id"] for each in (await bob("GET", "/tokens")).json()["items"]} == {
            tokens[0]["id"], tokens[2]["id"],
        }  # fmt: skip
        assert (await ada("DELETE", "/accounts/id-bob")).status_code == 204
        assert (await bob("GET", "/session", **bearers[2])).status_code == 401
        assert len((await ada("GET", "/tokens")).json()["items"]) == 1


async def _made(browser: Browser, **more: str) -> dict[str, Any]:
    answer = await browser("POST", "/tokens", {"name": "x", **more})
    found: dict[str, Any] = answer.json()
    return found


async def test_views_are_ones_own() -> None:
    """Nobody else sees or deletes them, not even an owner."""
    made = inhabited(ADA, BOB)
    async with browsing(made, "bob") as bob, browsing(made, "ada") as ada:
        saved = (await bob("POST", "/views", {"name": "mine", "query": "status=open"})).json()
        assert (await bob("GET", "/views")).json()["items"] == [saved]
        assert (await ada("GET", "/views")).json()["items"] == []
        assert (await ada("DELETE", f"/views/{saved['id']}")).status_code == 404
        assert (await bob("DELETE", f"/views/{saved['id']}")).status_code == 204
        assert (await bob("GET", "/views")).json()["items"] == []


async def test_nothing_that_opens_anything_is_stored_or_audited() -> None:
    """Neither passwords, tokens, links and cookies nor their hashes are in the audit; records have hashes only."""
    made = inhabited(ADA)
    async with browsing(made, "ada") as ada:
        invited = await ada("POST", "/accounts", {"login": "cy"})
        token = (await ada("POST", "/tokens", {"name": "x"})).json()["token"]
        wanted = {"current": PASSWORD, "password": "another long one"}
        assert (await ada("PUT", "/session/password", wanted)).status_code == 204
        opening = [PASSWORD, "another long one", token, _token(invited), *ada.client.cookies.values()]
    stored = [*made.control.records.values()]
    kept = " ".join(record.model_dump_json() for record in stored)
    audit = " ".join(f"{entry.before} {entry.after}" for entry in made.memory.audit)
    assert not [text for text in opening if text in kept or text in audit or text in str(made.memory.console.sessions)]
    assert not re.search(r"[0-9a-f]{64}|argon2id", audit)
    changed = next(entry for entry in made.memory.audit if entry.action == "changed")
    assert (changed.before, changed.after) == ('{"password": "***"}', '{"password": "*** (another one)"}')
