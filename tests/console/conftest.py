"""Stormweir as `make up` runs it, a real Chromium, and people of each role."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.conftest import FreePorts, free_base
from tests.console.bundle import built
from tests.console.people import PASSWORD, Window, link_in, make_account, window
from tests.docs.conftest import Reader, following

Open = Callable[..., AbstractContextManager[Window]]

#: The machine may do other things.
expect.set_options(timeout=15_000)

KEY = "5f0c2a9d7e4b41c8a3d6f1b20e987c65"
#: Two tools, a small topology, one destination that is reached and one that is not.
CONFIGURATION = f"""
services:
  - {{id: core-switch, name: Core switch}}
  - {{id: database, name: Database, depends_on: [core-switch]}}
  - {{id: shop, name: Shop, depends_on: [database], destinations: [chat]}}
  - {{id: payments, name: Payments, destinations: [chat]}}
integrations:
  - {{id: {KEY}, name: Events of shop, type: events_v2, service: shop, rate_limit: unlimited}}
destinations:
  - {{id: chat, type: webhook, name: Team chat, url: "http://127.0.0.1:8404/hooks"}}
users:
  - {{id: ada, name: Ada Lovelace, destinations: [{{destination: chat}}]}}
  - {{id: grace, name: Grace Hopper, destinations: [{{destination: chat}}]}}
schedules:
  - id: primary
    name: Primary
    zone: Europe/Berlin
    layers:
      - {{name: weeks, users: [ada, grace], start: 2026-11-02}}
"""


class Served(Reader):
    """The running stack."""

    @property
    def address(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self.settings.port('api')}"

    @property
    def link(self) -> str:
        """The link for the first account."""
        return link_in(self.output.read_text())

    def send(self, dedup_key: str, summary: str, action: str = "trigger", **fields: Any) -> None:
        """Send an alert as a tool does."""
        payload = {"summary": summary, "source": "web-01", "severity": "critical"} | fields
        links = payload.pop("links", [])
        body = {"routing_key": KEY, "event_action": action, "dedup_key": dedup_key, "payload": payload, "links": links}
        url = f"http://127.0.0.1:{self.settings.port('gateway')}/v2/enqueue"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10) as answer:
            assert answer.status == 202


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory, free_ports: FreePorts) -> Iterator[Served]:
    """A stack without accounts, with a configuration."""
    built()
    folder = tmp_path_factory.mktemp("console")
    with following(Served(folder, free_base(free_ports))) as stack:
        file = folder / "stormweir.yaml"
        file.write_text(stack.moved(CONFIGURATION))
        stack.bash(f"stormweir apply -f {file}")
        yield stack


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def owner(served: Served, browser: Browser) -> Iterator[Window]:
    """The first owner `ada`, who made the account by the link, as people do; a window for preparations."""
    with window(browser, served.address) as opened:
        make_account(opened.page, served.link, "Ada Lovelace", "ada")
        opened.page.get_by_text("owner of default").wait_for()
        yield opened


@pytest.fixture(scope="package")
def logged_in(served: Served, browser: Browser, owner: Window) -> Open:
    """Opens a window of somebody with a role, who is invited the first time."""
    invited: set[str] = {"ada"}

    @contextmanager
    def opened(role: str = "owner", **options: Any) -> Iterator[Window]:
        login = "ada" if role == "owner" else role
        with ExitStack() as stack:
            somebody = stack.enter_context(window(browser, served.address, **options))
            if login not in invited:
                made = owner.call("POST", "/accounts", {"login": login, "name": login.title(), "role": role})
                token = made["invitation_url"].partition("token=")[2]
                somebody.call("POST", "/setup", {"token": token, "password": PASSWORD, "name": login.title()})
                invited.add(login)
            else:
                somebody.call("POST", "/session", {"login": login, "password": PASSWORD})
            yield somebody

    return opened
