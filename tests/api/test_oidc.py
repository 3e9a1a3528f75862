"""Logging in by an identity provider: Node's `oidc-provider` is the judge, over HTTP on loopback."""

import hashlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import pytest

from schemas.control import Account, AnyRecord, Tenant
from schemas.settings import Settings, SettingsError
from sinks.outbound import Outbound
from streams.api.identity.oidc import Oidc
from streams.control.accounts import by_login
from streams.control.audit import Actor
from streams.control.write import Change
from tests.api.conftest import Offline
from tests.api.people import LOCAL, Browser, browsing, inhabited, person
from tests.conftest import FreePorts
from tests.docs.page import ROOT

FOLDER = Path(__file__).parent / "oidc"
CALLBACK = f"{LOCAL}/api/v1/oidc/callback"
SECRET = "a secret: with/odd+characters"
ADA = person("root", "owner")


@pytest.fixture(scope="module")
def provider(free_ports: FreePorts) -> Iterator[str]:
    """The issuer of a provider that runs as long as these tests; its packages are installed once."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Node is not installed")
    lock = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = ROOT / ".cache" / f"oidc-{lock}"
    if not (folder / "node_modules").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FOLDER / name, folder)
        subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True, capture_output=True
        )
    shutil.copy(FOLDER / "provider.mjs", folder)
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [node, "provider.mjs", str(port), CALLBACK], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


class Person:
    """Somebody with a browser: `here` is Stormweir, `there` the provider."""

    def __init__(self, here: Browser, there: httpx2.AsyncClient) -> None:
        self.here = here
        self.there = there

    async def leave(self) -> str:
        """Click on the console's button: the address at the provider."""
        answer = await self.here("GET", "/oidc/start", sec_fetch_site="none")
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    async def agree(self, address: str, login: str) -> str:
        """Log in at the provider: the address to come back to."""
        answer = await self.there.get(address)
        for _ in range(10):
            location = answer.headers.get("location", "")
            if location.startswith(CALLBACK):
                return str(location)
            if location:
                answer = await self.there.get(httpx2.URL(str(answer.url)).join(location))
                continue
            prompt = "login" if 'name="login"' in answer.text else "consent"
            answer = await self.there.post(str(answer.url), data={"prompt": prompt, "login": login, "password": "x"})
        raise AssertionError(answer.text)

    async def come_back(self, address: str) -> str:
        """Follow the provider's redirect: where Stormweir sends the browser, `/` if somebody is logged in."""
        parts = urlsplit(address)
        answer = await self.here("GET", f"/oidc/callback?{parts.query}", sec_fetch_site="cross-site")
        assert answer.status_code == 303
        return unquote(answer.headers["location"])

    async def log_in(self, login: str) -> str:
        """All of it."""
        return await self.come_back(await self.agree(await self.leave(), login))


def _settings(issuer: str, **more: Any) -> Settings:
    known = {"oidc_issuer": issuer, "oidc_client_id": "stormweir", "oidc_client_secret": SECRET}
    networks = (ip_network("127.0.0.0/8"),)
    return Settings(**{**known, "allowed_networks": networks, "console_url": LOCAL, **more})


class Installation:
    """Parts with a provider, and people who visit."""

    def __init__(self, settings: Settings, *records: AnyRecord) -> None:
        self.made: Offline = inhabited(*records)
        self.made.settings = settings
        self.outbound = Outbound(settings.allowed_networks)
        self.made.oidc = Oidc(settings, self.outbound)

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Person]:
        """A person with fresh browsers."""
        try:
            async with browsing(self.made) as here, httpx2.AsyncClient() as there:
                yield Person(here, there)
        finally:
            await self.outbound.close()


@pytest.fixture
async def tamper(provider: str) -> AsyncIterator[Any]:
    """`await tamper(claims={"aud": "x"})` changes the provider's tokens until the test ends."""
    async with httpx2.AsyncClient(base_url=provider) as client:

        async def change(**how: Any) -> None:
            assert (await client.post("/tamper", json=how)).status_code == 200

        yield change
        await change()


async def test_who_the_provider_knows_gets_an_account(provider: str) -> None:
    """Made at the first login with the default role, found again at the next, and never that of a local login."""
    found = Installation(_settings(provider), ADA, person("ada", "owner"))
    async with found.visit() as visitor:
        methods = (await visitor.here("GET", "/login-methods")).json()
        assert methods["oidc"] == {"title": "127.0.0.1"}
        assert await visitor.log_in("ada") == "/"
        session = (await visitor.here("GET", "/session")).json()
        assert (session["login"], session["name"], session["role"]) == ("ada-2", "Ada Lovelace", "viewer")
        assert (await visitor.here("DELETE", "/session")).status_code == 204
        assert await visitor.log_in("ada") == "/"
        assert (await visitor.here("GET", "/session")).json()["account"] == session["account"]
    account = by_login(found.made.control, "ada-2")
    assert account is not None
    assert (account.issuer, account.subject, account.password) == (provider, "ada", None)
    created = [entry for entry in found.made.memory.audit if entry.action == "created"]
    assert [(entry.kind, entry.actor) for entry in created] == [("account", "ada-2")]


async def test_the_claim_decides_the_role(provider: str) -> None:
    """The greatest that it names, at each login; the default for whom it names none."""
    settings = _settings(provider, oidc_role_claim="roles", oidc_default_role="member", oidc_tenant="acme")
    found = Installation(settings, ADA, Tenant(id="acme"))
    async with found.visit() as visitor:
        for login, role in (("ada", "admin"), ("bob", "member")):
            assert await visitor.log_in(login) == "/"
            visitor.there.cookies.clear()
            session = (await visitor.here("GET", "/session")).json()
            assert (session["login"], session["role"], session["tenant"]) == (login, role, "acme")
        ada = by_login(found.made.control, "ada")
        assert ada is not None
        demoted = ada.model_copy(update={"role": "viewer"})
        await found.made.transact(lambda _: (None, Change([demoted])), Actor("root"))
        assert await visitor.log_in("ada") == "/"
        assert (await visitor.here("GET", "/session")).json()["role"] == "admin"


async def test_a_disabled_account_stays_out(provider: str) -> None:
    """What the provider says does not enable it."""
    disabled = person("ada", "viewer", enabled=False, password=None, issuer=provider, subject="ada")
    async with Installation(_settings(provider), ADA, disabled).visit() as visitor:
        assert await visitor.log_in("ada") == "/#/login?error=this account is disabled"
        assert (await visitor.here("GET", "/session")).status_code == 401


@pytest.mark.parametrize(
    "how",
    [
        {"claims": {"nonce": "another"}},
        {"claims": {"aud": "another"}},
        {"claims": {"aud": ["stormweir", "another"], "azp": "another"}},
        {"claims": {"iss": "http://127.0.0.1:1"}},
        {"claims": {"exp": 1_700_000_000}},
        {"claims": {"exp": None}},
        {"claims": {"iat": 4_000_000_000}},
        {"claims": {"sub": None}},
        {"claims": {"sub": "bob"}},
        {"how": "none"},
        {"how": "hs256"},
        {"how": "stranger"},
        {"header": {"kid": "unknown"}},
    ],
    ids=lambda how: str(how).replace(" ", ""),
)
async def test_a_tampered_token_logs_nobody_in(provider: str, tamper: Any, how: dict[str, Any]) -> None:
    """Another nonce, audience, issuer, time, subject, signature or algorithm is refused, and the audit says so."""
    found = Installation(_settings(provider), ADA)
    async with found.visit() as visitor:
        await tamper(**how)
        back = await visitor.log_in("ada")
        assert back.startswith("/#/login?error=the identity provider")
        assert (await visitor.here("GET", "/session")).status_code == 401
    assert len(found.made.control.every(Account)) == 1
    assert [(entry.action, entry.outcome) for entry in found.made.memory.audit] == [("log_in", "oidc")]


async def test_an_answer_to_nobodys_login_is_refused(provider: str) -> None:
    """Another state, no cookie, another browser's answer, one that was used before, and the provider's own refusal."""
    found = Installation(_settings(provider), ADA)
    async with found.visit() as visitor:
        answer = await visitor.agree(await visitor.leave(), "ada")
        state = parse_qs(urlsplit(answer).query)["state"][0]
        assert "no answer to a login that this browser" in await visitor.come_back(answer.replace(state, "x" * 43))
        assert "began no login" in await visitor.come_back(answer)
        await visitor.leave()
        assert "no answer to a login that this browser" in await visitor.come_back(answer)
        used = await visitor.agree(await visitor.leave(), "ada")
        kept = dict(visitor.here.client.cookies)
        assert await visitor.come_back(used) == "/"
        visitor.here.client.cookies.clear()
        visitor.here.client.cookies.update(kept)
        assert "did not give a token (400)" in await visitor.come_back(used)
        state = parse_qs(urlsplit(await visitor.leave()).query)["state"][0]
        denied = f"{CALLBACK}?error=access_denied&state={state}"
        assert "refused the login" in await visitor.come_back(denied)
        state = parse_qs(urlsplit(await visitor.leave()).query)["state"][0]
        assert "another identity provider" in await visitor.come_back(f"{CALLBACK}?code=x&iss=http://x&state={state}")


async def test_the_provider_may_change_its_key(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys are fetched again for a token of an unknown one, but not for each such token."""
    found = Installation(_settings(provider), ADA)
    async with found.visit() as visitor:
        assert await visitor.log_in("ada") == "/"
        async with httpx2.AsyncClient(base_url=provider) as client:
            await client.post("/rotate")
        visitor.there.cookies.clear()
        assert "not valid" in await visitor.log_in("ada")
        monkeypatch.setattr("streams.api.identity.oidc._RETRY_S", 0.0)
        assert await visitor.log_in("ada") == "/"


async def test_what_is_no_provider_is_named(provider: str, free_ports: FreePorts) -> None:
    """Nobody there, another issuer, a private address without leave, no provider at all."""
    (port,) = free_ports(1)
    for settings, reason in (
        (_settings(f"http://127.0.0.1:{port}"), "did not give its description (refused)"),
        (_settings(f"{provider}/"), "calls itself another than STORMWEIR_OIDC_ISSUER"),
        (replace(_settings(provider), allowed_networks=()), "(blocked_target)"),
    ):
        async with Installation(settings, ADA).visit() as visitor:
            assert reason in unquote(await visitor.leave())
    async with browsing(inhabited(ADA)) as browser:
        assert (await browser("GET", "/oidc/start")).status_code == 404
    with pytest.raises(SettingsError, match="STORMWEIR_OIDC_CLIENT_ID"):
        Settings.from_env({"STORMWEIR_OIDC_ISSUER": provider})
