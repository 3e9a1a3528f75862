"""Who gets in, who is let out, and what a role sees."""

import pytest
from playwright.sync_api import Browser, expect

from tests.console.conftest import Open, Served
from tests.console.people import PASSWORD, Window, make_account, window

pytestmark = pytest.mark.stack


def test_first_account(served: Served, owner: Window) -> None:
    """The printed link makes the first owner, once; the page that it leads to is the list of incidents."""
    expect(owner.page).to_have_title("Incidents · Stormweir")
    page = owner.page.context.new_page()
    make_account(page, served.link, "Eve", "eve")
    expect(page.get_by_role("alert")).to_be_visible()
    page.close()


def test_log_in_and_out(served: Served, owner: Window, browser: Browser) -> None:
    """A wrong password is said to be wrong and forgotten; the right one leads in by the keyboard alone; out is out."""
    with window(browser, served.address) as opened:
        page = opened.go("incidents")
        page.get_by_label("Login").fill("ada")
        page.get_by_label("Password").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The login or the password is wrong.")
        expect(page.get_by_label("Password")).to_have_value("")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Incidents")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_session_ended_elsewhere_ends_here(logged_in: Open) -> None:
    """Who is logged out by an admin, wherever they are logged in, sees the login at the next request."""
    with logged_in("member") as member, logged_in() as admin:
        member.go("settings/sessions")
        page = admin.go("settings/sessions")
        sessions = page.get_by_role("row", name="member")
        expect(sessions.first).to_be_visible()
        for left in reversed(range(sessions.count())):
            sessions.get_by_role("button", name="End").first.click()
            expect(sessions).to_have_count(left)
        member.page.get_by_role("link", name="Tokens").click()
        expect(member.page.get_by_role("heading", name="Log in")).to_be_visible()


def test_roles_hide_what_they_may_not_do(logged_in: Open) -> None:
    """A viewer finds neither accounts nor the audit; an admin finds both."""
    with logged_in("viewer") as viewer:
        page = viewer.go("settings")
        expect(page.get_by_role("link", name="Sessions")).to_be_visible()
        for hidden in ("Accounts", "Tokens", "Audit"):
            expect(page.get_by_role("link", name=hidden)).to_have_count(0)
    with logged_in("admin") as admin:
        page = admin.go("settings/accounts")
        expect(page.get_by_role("row", name="viewer")).to_be_visible()
        expect(page.get_by_label("Role of ada")).to_be_disabled()


def test_invite_somebody(served: Served, browser: Browser, logged_in: Open) -> None:
    """An invitation is a link, by which its receiver chooses a password."""
    with logged_in() as admin:
        page = admin.go("settings/accounts")
        page.get_by_role("button", name="Invite somebody").click()
        page.get_by_label("Login").fill("hedy")
        page.get_by_role("dialog").get_by_label("Role").select_option("member")
        page.get_by_role("button", name="Make the invitation").click()
        link = page.locator(".code pre").inner_text()
    with window(browser, served.address) as invited:
        page = invited.page
        make_account(page, link, "Hedy Lamarr")
        expect(page.get_by_text("member of default")).to_be_visible()


def test_a_token_is_shown_once(logged_in: Open) -> None:
    """A new token is shown after it was made, and never again; revoked it is gone."""
    with logged_in() as opened:
        page = opened.go("settings/tokens")
        page.get_by_role("button", name="Add a token").click()
        page.get_by_label("Name").fill("deploy")
        page.get_by_role("dialog").get_by_role("button", name="Add the token").click()
        token = page.locator(".code pre").inner_text()
        assert len(token) > 20
        page.reload()
        expect(page.get_by_role("row", name="deploy")).to_be_visible()
        assert token not in page.content()
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("row", name="deploy")).to_have_count(0)


def test_the_audit_names_who_did_it(logged_in: Open) -> None:
    """The audit lists changes with their actor, and is exported as a table."""
    with logged_in() as opened:
        page = opened.go("settings/audit")
        expect(page.get_by_role("row", name="account").first).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Export as CSV").click()
        assert download.value.path().read_text().startswith("at,actor,action")
