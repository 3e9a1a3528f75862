"""People with accounts, and browsers that they use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from argon2 import PasswordHasher

from schemas.control import Account, AnyRecord, RoleName
from streams.api.app import application
from streams.api.identity.people import People
from tests.api.conftest import Offline, parts

PASSWORD = "correct horse battery"
_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
LOCAL = "http://127.0.0.1:8405"
PUBLIC = "https://stormweir.example.com"
Answer = httpx2.Response


def person(login: str, role: RoleName, tenant: str = "default", **more: Any) -> Account:
    """Somebody who logs in with PASSWORD."""
    values = {"id": f"id-{login}", "login": login, "role": role, "tenant": tenant, "password": _HASH}
    return Account.model_validate({**values, "created_at": "2026-11-01T00:00:00Z", **more})


def inhabited(*records: AnyRecord, **more: Any) -> Offline:
    """Parts that find callers as the process does; `more` is that of `parts`."""
    made = parts(*records, **more)
    made.identity = People(made.control, made.sessions, made.now)
    return made


class Browser:
    """A browser at `base`: it keeps cookies, and says that its requests come from the console."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, json: Any = None, **headers: str) -> Answer:
        """Send a request. Headers are given with underscores."""
        named = {"sec-fetch-site": "same-origin"} | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.request(method, f"/api/v1{path}", json=json, headers=named)
        await asyncio.sleep(0)  # nobody waits for the audit of a refusal; here it is done now
        return answer

    async def log_in(self, login: str, password: str = PASSWORD) -> Answer:
        """Begin a session."""
        return await self("POST", "/session", {"login": login, "password": password})


@asynccontextmanager
async def browsing(made: Offline, login: str = "", base: str = LOCAL) -> AsyncIterator[Browser]:
    """A browser, in which `login` is logged in."""
    transport = httpx2.ASGITransport(app=application(made), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
        browser = Browser(client)
        if login:
            assert (await browser.log_in(login)).status_code == 204
        yield browser
