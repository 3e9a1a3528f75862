"""Tools are connected, tested, rotated and deleted; destinations are tested."""

import subprocess

import pytest
from playwright.sync_api import expect

from tests.console.conftest import Open, Served

pytestmark = pytest.mark.stack


def test_connect_a_tool(served: Served, logged_in: Open) -> None:
    """From the catalogue to the first alert: the page gives a request, waits, and says when the alert arrived."""
    with logged_in("admin") as opened:
        page = opened.go("integrations")
        page.get_by_role("link", name="Connect a tool").click()
        page.get_by_label("Search the catalogue").fill("events api")
        page.get_by_role("link", name="PagerDuty Events API v2").click()
        page.get_by_label("Name").fill("Events of search")
        page.get_by_label("Service that its alerts are about").fill("search")
        page.get_by_role("button", name="Make its address").click()
        expect(page.get_by_text("Waiting for your first alert")).to_be_visible()
        key = page.get_by_role("region", name="Address and key").locator("pre").nth(1).inner_text()
        assert len(key) == 32
        request = page.get_by_role("region", name="Set it up").locator("pre").inner_text()
        assert key in request
        subprocess.run(["bash", "-c", request], check=True, capture_output=True, timeout=30)
        expect(page.get_by_text("The first alert arrived")).to_be_visible(timeout=30_000)

        page.goto(f"{served.address}/#/integrations")
        page.get_by_role("link", name="Events of search").click()
        expect(page.get_by_text("Alerts in 24 hours")).to_be_visible()
        assert key not in page.content()


def test_disable_and_delete(logged_in: Open) -> None:
    """An integration is disabled by one click, and deleted only by who types its name."""
    with logged_in("admin") as opened:
        made = {"name": "To delete", "type": "webhook", "service": "shop"}
        one = opened.call("POST", "/integrations", made)["id"]
        page = opened.go(f"integrations/in/{one}")
        page.get_by_role("button", name="Disable").click()
        expect(page.get_by_text("Its requests are answered 403.")).to_be_visible()
        page.get_by_role("button", name="Rotate the key").click()
        page.get_by_role("dialog").get_by_role("button", name="Rotate the key").click()
        expect(page.get_by_text("The key and the secret are shown once.")).to_be_visible()
        page.get_by_role("button", name="Delete", exact=True).click()
        confirm = page.get_by_role("button", name="Delete the integration")
        expect(confirm).to_be_disabled()
        page.get_by_label("to confirm").fill("To delete")
        confirm.click()
        expect(page.get_by_role("heading", name="Integrations")).to_be_visible()


def test_a_test_alert_says_what_happened(logged_in: Open) -> None:
    """A member sends a test alert the whole way, and reads its steps."""
    with logged_in("member") as opened:
        page = opened.go("integrations")
        page.get_by_role("link", name="Events of shop").click()
        expect(page.get_by_role("button", name="Delete")).to_have_count(0)
        page.get_by_role("button", name="Send a test alert").click()
        expect(page.get_by_role("dialog")).to_be_visible(timeout=40_000)
        expect(page.get_by_role("dialog").get_by_role("listitem").first).to_be_visible()


def test_a_destination_that_does_not_answer(logged_in: Open) -> None:
    """The test of a destination says why it failed, and what to do about it."""
    with logged_in("member") as opened:
        page = opened.go("integrations/out")
        page.get_by_role("button", name="Test Team chat").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("The test did not arrive")).to_be_visible(timeout=40_000)


def test_a_viewer_may_only_look(logged_in: Open) -> None:
    """A viewer has neither tests nor changes."""
    with logged_in("viewer") as opened:
        page = opened.go("integrations")
        expect(page.get_by_role("link", name="Connect a tool")).to_have_count(0)
        page.get_by_role("link", name="Events of shop").click()
        expect(page.get_by_text("Alerts in 24 hours")).to_be_visible()
        expect(page.get_by_role("main").get_by_role("button", name="Disable")).to_have_count(0)
        expect(page.get_by_role("button", name="Send a test alert")).to_have_count(0)
