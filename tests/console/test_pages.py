"""Every page: accessible in both themes and on a phone, pictured, and honest when Stormweir is away."""

import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console.bundle import ROOT
from tests.console.conftest import Open, Served
from tests.console.people import DESKTOP, PHONE, Window
from tests.console.test_incidents import opened_incident

pytestmark = pytest.mark.stack

_AXE = ROOT / "streams/console/node_modules/axe-core/axe.min.js"
#: Each page; `{incident}` is the id of one.
PAGES = {
    "incidents": "incidents",
    "incident": "incidents/{incident}",
    "services": "services",
    "services-list": "services/list",
    "heartbeats": "services/heartbeats",
    "oncall": "oncall",
    "history": "history",
    "questions": "history/questions",
    "insights": "insights",
    "deliveries": "deliveries",
    "deadletters": "deliveries/deadletters",
    "rejections": "deliveries/rejections",
    "integrations": "integrations",
    "catalogue": "integrations/new",
    "connect": "integrations/new/datadog",
    "destinations": "integrations/out",
    "records": "rules/service",
    "silence": "rules/silence/new",
    "schedule": "rules/schedule/primary",
    "destination": "rules/destination/chat",
    "file": "rules/file",
    "route-test": "rules/route-test",
    "rehearsal": "rules/rehearsal",
    "accounts": "settings/accounts",
    "tokens": "settings/tokens",
    "sessions": "settings/sessions",
    "audit": "settings/audit",
    "system": "settings/system",
}


#: WCAG 2.2 A and AA, and best practice.
ALL_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def violations(window: Window, rules: tuple[str, ...] = ALL_RULES) -> list[str]:
    """What axe finds wrong in the page."""
    window.page.evaluate(_AXE.read_text())
    found = window.page.evaluate("rules => axe.run(document, {runOnly: rules})", list(rules))
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]


def picture(window: Window, name: str) -> None:
    """Keep a picture of the page, if CONSOLE_PICTURES names a folder."""
    if folder := os.environ.get("CONSOLE_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        window.page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("scheme", "viewport", "rules"),
    [
        ("light", DESKTOP, ALL_RULES),
        ("dark", DESKTOP, ("color-contrast",)),
        ("dark", PHONE, ("target-size", "scrollable-region-focusable")),
    ],
    ids=["light", "dark", "phone"],
)
def test_every_page(
    served: Served, logged_in: Open, scheme: str, viewport: dict[str, int], rules: tuple[str, ...]
) -> None:
    """axe finds nothing on any page, no page is wider than the window, and no request of a page fails.

    In the dark and on a phone only what can differ there is looked at.
    """
    if not _AXE.is_file():
        pytest.skip("axe-core is not installed: make console")
    with logged_in(viewport=viewport, color_scheme=scheme) as somebody:
        failed: list[str] = []
        page = somebody.page
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        incident = opened_incident(served, somebody, f"seen in {scheme} at {viewport['width']}")
        wrong: dict[str, list[str]] = {}
        for name, path in PAGES.items():
            somebody.go(path.format(incident=incident))
            expect(page.get_by_label("Loading")).to_have_count(0)
            page.wait_for_timeout(150)
            found = violations(somebody, rules)
            if page.evaluate("document.documentElement.scrollWidth") > viewport["width"]:
                found.append("wider than the window")
            if found:
                wrong[name] = found
            picture(somebody, f"{name}-{scheme}-{viewport['width']}")
        assert wrong == {}
        assert failed == []


def test_tables_and_tabs_on_a_phone(logged_in: Open) -> None:
    """The current tab is in sight, text in a table has room, and a select can be read; the table scrolls."""
    with logged_in(viewport=PHONE) as somebody:
        page = somebody.go("rules/rehearsal")
        expect(page.get_by_role("link", name="Rehearsal")).to_be_in_viewport(ratio=0.9)
        somebody.go("settings/accounts")
        assert width(page.get_by_label("Role of ada")) >= 100
        somebody.go("settings/sessions")
        assert width(page.get_by_role("cell", name="Mozilla").first) >= 200


def width(part: Locator) -> float:
    """Of a part of the page, in pixels."""
    box = part.bounding_box()
    assert box is not None
    return box["width"]


def test_hours_without_alerts_are_drawn(served: Served, logged_in: Open) -> None:
    """The volume an hour is of the whole time, however little came."""
    with logged_in() as somebody:
        opened_incident(served, somebody, "the only one in this hour")
        page = somebody.go("insights?days=1")
        expect(page.get_by_role("img", name="Volume an hour: alerts, 25 points")).to_be_visible()


def test_the_theme_is_what_somebody_chose(logged_in: Open) -> None:
    """Without a choice the system decides, and its change is followed; a choice goes over it, after a reload too."""
    with logged_in(color_scheme="dark") as somebody:
        page = somebody.go("settings/system")
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        page.emulate_media(color_scheme="light")
        light = page.evaluate(ground)
        assert light != dark
        page.evaluate("localStorage.setItem('stormweir.theme', 'dark')")
        page.reload()
        page.locator("h1").first.wait_for(state="attached")
        assert page.evaluate(ground) == dark
        page.emulate_media(color_scheme="dark")
        page.evaluate("localStorage.setItem('stormweir.theme', 'light')")
        page.reload()
        page.locator("h1").first.wait_for(state="attached")
        assert page.evaluate(ground) == light


@pytest.mark.parametrize("key", ["?", "Control+k", "s"])
def test_dialogs(served: Served, logged_in: Open, key: str) -> None:
    """A dialog is accessible, keeps the focus inside, and gives it back when Escape closes it."""
    if not _AXE.is_file():
        pytest.skip("axe-core is not installed: make console")
    with logged_in() as somebody:
        opened_incident(served, somebody, "has dialogs")
        page = somebody.go("incidents?q=dialogs")
        expect(page.locator("[data-row]")).to_have_count(1)
        page.keyboard.press("j")
        link = page.get_by_role("link", name="has dialogs")
        expect(link).to_be_focused()
        page.keyboard.press(key)
        expect(page.get_by_role("dialog")).to_be_visible()
        page.wait_for_timeout(600)
        assert violations(somebody) == []
        for _ in range(12):
            page.keyboard.press("Tab")
            assert page.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            )
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(link).to_be_focused()


def test_stormweir_is_away(served: Served, logged_in: Open) -> None:
    """Without an answer a page says so and offers to try again; what was read before stays, with its time."""
    with logged_in() as somebody:
        page = somebody.go("services/list")
        expect(page.get_by_role("link", name="Core switch")).to_be_visible()
        page.route("**/api/v1/**", lambda route: route.abort())
        somebody.go("history/questions")
        expect(page.get_by_role("alert")).to_contain_text("Stormweir does not answer.")
        page.unroute("**/api/v1/**")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("button", name="Which alerts repeat most?")).to_be_visible()
        somebody.complaints[:] = [each for each in somebody.complaints if "ERR_FAILED" not in each]


#: Pages that read nothing before somebody asks them to.
_READ_NOTHING = {"file", "route-test"}


def test_every_page_without_stormweir(served: Served, logged_in: Open) -> None:
    """Each page says what is missing, offers to try again, and is whole once there is an answer."""
    with logged_in() as somebody:
        page = somebody.page
        incident = opened_incident(served, somebody, "read without an answer")
        wrong: dict[str, str] = {}
        for name, path in PAGES.items():
            # Who is logged in is known; all else is away.
            page.route(re.compile(r"/api/v1/(?!session$)"), lambda route: route.abort())
            page.goto("about:blank")  # nothing is there from the page before
            somebody.go(path.format(incident=incident))
            expect(page.get_by_label("Loading")).to_have_count(0)
            if name not in _READ_NOTHING:
                expect(page.get_by_role("alert").filter(has_text="Stormweir does not answer.").first).to_be_visible()
            page.unroute_all()
            if again := page.get_by_role("button", name="Try again").all():
                again[0].click()
            else:
                somebody.go(path.format(incident=incident))
            expect(page.get_by_label("Loading")).to_have_count(0)
            if page.get_by_role("heading", level=1).count() != 1:
                wrong[name] = page.locator("main").inner_text()[:200]
        assert wrong == {}
        somebody.complaints[:] = [each for each in somebody.complaints if "ERR_FAILED" not in each]


#: What somebody with a keyboard must reach and did not; of radio buttons of one name the browser stops at one. In the
#: list of incidents the box of a row can be had once its row is the current one, and x does the same.
_PASSED_OVER = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter((each) => each.tabIndex >= 0 && !each.disabled && each.type !== "radio" && !each.dataset.stopped
    && each.checkVisibility({visibilityProperty: true})
    && !each.closest("[inert], dialog:not([open]), [role=row] [role=gridcell]:has(input)"))
  .map((each) => "passed over: " + each.outerHTML.slice(0, 200))"""
#: From here on each element that gets the focus is noted: whether one had it before, and those on which, as on what is
#: around them, the focus cannot be seen. In a date the browser itself marks the part that has it.
_BEGIN = """() => {
  document.activeElement.blur();
  document.querySelectorAll("[data-stopped]").forEach((each) => delete each.dataset.stopped);
  window.focused?.abort();
  window.focused = new AbortController();
  window.stops = { again: false, unseen: [] };
  const shows = (each) => { const style = getComputedStyle(each);
    return style.outlineStyle !== "none" || style.boxShadow !== "none"; };
  document.addEventListener("focusin", ({ target }) => {
    if (target.dataset.stopped) stops.again = true;
    target.dataset.stopped = "yes";
    if (!shows(target) && !shows(target.parentElement) && !target.type?.startsWith("date"))
      stops.unseen.push("unseen: " + target.outerHTML.slice(0, 200));
  }, { signal: focused.signal });
}"""


def _all_round(page: Page) -> list[str]:
    """Press Tab until it comes to something for the second time; what it passed over, and where it was not seen."""
    page.evaluate(_BEGIN)
    for _ in range(20):
        for _ in range(20):
            page.keyboard.press("Tab")
        if page.evaluate("stops.again"):
            found: list[str] = page.evaluate("stops.unseen") + page.evaluate(_PASSED_OVER)
            return found
    return ["does not end"]


@pytest.mark.timeout(400)
def test_every_page_by_keyboard(served: Served, logged_in: Open) -> None:
    """Tab stops at everything that somebody can use, shows where it is, and leaves the page at its end."""
    with logged_in() as somebody:
        page = somebody.page
        incident = opened_incident(served, somebody, "reached by keyboard")
        wrong: dict[str, list[str]] = {}
        # A long list shows the rows in sight only.
        for name, path in {**PAGES, "incidents": "incidents?q=reached+by+keyboard"}.items():
            page.goto("about:blank")  # Tab begins at the top, and nothing is there from the page before
            somebody.go(path.format(incident=incident))
            expect(page.get_by_label("Loading")).to_have_count(0)
            # What came while Tab was on its way is reached the next time.
            for _ in range(3):
                if not (found := _all_round(page)):
                    break
            else:
                wrong[name] = found[:5]
        assert wrong == {}


def test_a_question_is_answered(served: Served, logged_in: Open) -> None:
    """A named question is asked with its parameters, and answered with a table."""
    with logged_in() as somebody:
        opened_incident(served, somebody, "asked about")
        page = somebody.go("history/questions")
        page.get_by_role("button", name="Which alerts repeat most?").click()
        page.get_by_role("button", name="Ask").click()
        expect(page.get_by_role("region", name="Answer").get_by_role("columnheader").first).to_be_visible()


def test_a_silence_says_what_it_hides(served: Served, logged_in: Open) -> None:
    """From an incident to a silence: conditions are proposed, the preview names it, the silence is listed."""
    with logged_in("member") as somebody:
        incident = opened_incident(served, somebody, "to be silenced")
        page = somebody.go(f"incidents/{incident}")
        expect(page.get_by_role("heading", name="to be silenced")).to_be_visible()
        page.keyboard.press("s")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("to be silenced").last).to_be_visible(timeout=30_000)
        dialog.get_by_label("Reason").fill("the switch is replaced")
        dialog.get_by_role("button", name="Silence", exact=True).click()
        expect(page.get_by_text("The silence holds.")).to_be_visible()
        somebody.go("rules/silence")
        expect(page.get_by_text("the switch is replaced").first).to_be_visible()


def test_a_calendar_address_is_made_and_revoked(logged_in: Open) -> None:
    """A calendar program reads the shown address without logging in, until it is revoked."""
    with logged_in("member") as somebody:
        page = somebody.go("oncall")
        page.get_by_role("region", name="Primary").get_by_role("button", name="Calendar", exact=True).click()
        page.get_by_role("button", name="Make an address").click()
        calendar = page.get_by_text("/api/v1/calendars/").inner_text()
        with urllib.request.urlopen(calendar, timeout=10) as answer:
            assert answer.read().startswith(b"BEGIN:VCALENDAR")
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("No addresses")).to_be_visible()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(calendar, timeout=10)


def test_route_test(logged_in: Open) -> None:
    """Who would be told of an alert, and why somebody would not."""
    with logged_in("viewer") as somebody:
        page = somebody.go("rules/route-test")
        page.get_by_label("Service").fill("payments")
        page.get_by_role("button", name="Test").click()
        expect(page.get_by_role("region", name="Result")).to_contain_text("chat is told")
