"""People before a browser: an account, a window, and what went wrong in it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

PASSWORD = "correct horse battery"
DESKTOP = {"width": 1320, "height": 860}
PHONE = {"width": 360, "height": 720}


class Window:
    """A page of the console in a browser of somebody, and whatever a browser complained about."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.context = context
        self.address = address
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.set_default_timeout(15_000)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("console", self._said)
        self.page.on("request", self._asked)

    def go(self, path: str) -> Page:
        """Go to a page, as `incidents?q=disk`; its heading is there."""
        self.page.goto(f"{self.address}/#/{path}")
        self.page.locator("h1").first.wait_for(state="attached")
        return self.page

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """What the API answers to this person, in JSON; None without a body. Raises AssertionError for an error."""
        answer = self.context.request.fetch(
            f"{self.address}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body),
            headers={"content-type": "application/json", "origin": self.address, **headers},
        )
        assert answer.ok, f"{method} {path}: {answer.status} {answer.text()}"
        return answer.json() if answer.body() else None

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _said(self, message: Any) -> None:
        # A browser notes each answer of 400 and more, which the console handles.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"console: {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:")):
            self.complaints.append(f"off origin: {request.url}")


@contextmanager
def window(browser: Browser, address: str, **options: Any) -> Iterator[Window]:
    """A new window of nobody; at its end a browser must not have complained."""
    context = browser.new_context(viewport=options.pop("viewport", DESKTOP), **options)
    opened = Window(context, address)
    try:
        yield opened
        assert opened.complaints == []
    finally:
        context.close()


def make_account(page: Page, link: str, name: str, login: str = "") -> None:
    """Take an invitation; who is invited has a login already."""
    page.goto(link)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Login").fill(login)
    page.get_by_label(re.compile("^Password(?! again)")).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()


def link_in(output: str) -> str:
    """The link with which the first account is made, in the output of `stormweir up`."""
    found = re.search(r"make the first account at (http\S+)", output.replace("\n", ""))
    assert found, output
    return found[1]
