"""The list of incidents and one incident: live, by mouse and by keyboard."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.console.conftest import Open, Served
from tests.console.people import DESKTOP, PHONE, Window

pytestmark = pytest.mark.stack

#: How many incidents the list reads at first.
_FIRST_PAGE = 100
#: Every field of an alert may hold this.
HOSTILE = "<img src=x onerror=alert(1)>"


def row(page: Page, title: str) -> Locator:
    """The row of an incident."""
    return page.locator("[data-row]", has=page.get_by_role("link", name=title, exact=True))


def opened_incident(served: Served, window: Window, title: str, **fields: object) -> str:
    """The id of an incident that an alert has opened."""
    served.send(title, title, **fields)
    return wait_for(window, title)["id"]


def boxes(page: Page) -> list[object]:
    """The title of each row in the page, and where it is."""
    return [[line.get_by_role("link").inner_text(), line.bounding_box()] for line in page.locator("[data-row]").all()]


def wait_for(window: Window, title: str, holds: Callable[[dict], bool] = lambda _: True) -> dict:
    """The incident of this title, as soon as the API lists it and the condition holds."""
    for _ in range(100):
        listed = window.call("GET", f"/incidents?q={title.replace(' ', '+')}")["items"]
        found = [each for each in listed if each["title"] == title and holds(each)]
        if found:
            return found[0]
        window.page.wait_for_timeout(100)
    raise AssertionError(f"{title} is not listed so")


def test_new_incidents_are_offered_and_no_row_jumps(served: Served, logged_in: Open) -> None:
    """An alert that arrives is offered above the list; what resolves stays in its row until the list is read again."""
    with logged_in() as somebody:
        opened_incident(served, somebody, "stays in its row")
        page = somebody.go("incidents")
        first = row(page, "stays in its row")
        expect(first).to_be_visible()
        served.send("arrives later", "arrives later")
        offer = page.get_by_role("button", name="1 new incident: show")
        expect(offer).to_be_visible()
        expect(row(page, "arrives later")).to_have_count(0)
        served.send("stays in its row", "stays in its row", action="resolve")
        expect(first).to_contain_text("resolved")
        offer.click()
        expect(row(page, "arrives later")).to_be_visible()
        expect(first).to_have_count(0)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_only_what_is_new_is_offered(served: Served, logged_in: Open, viewport: dict[str, int]) -> None:
    """What opens on a page that is not read yet is counted, not offered; an offer moves no row."""
    word = f"pages{viewport['width']}"
    with logged_in(viewport=viewport) as somebody:
        for number in range(_FIRST_PAGE + 1):
            served.send(f"{word} {number}", f"{word} {number}", severity="error")
        for _ in range(100):
            if somebody.call("GET", f"/incidents?q={word}")["total"] > _FIRST_PAGE:
                break
            somebody.page.wait_for_timeout(100)
        page = somebody.go(f"incidents?q={word}")
        expect(page.locator("[data-row]").first).to_be_visible()
        before = boxes(page)
        served.send(f"{word} last", f"{word} last", severity="info")
        wait_for(somebody, f"{word} last")
        served.send(f"{word} first", f"{word} first")
        expect(page.get_by_role("button", name="1 new incident: show")).to_be_visible()
        expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(_FIRST_PAGE + 3))
        expect(page.get_by_role("button", name="1 new incident: show")).to_be_visible()
        assert boxes(page) == before
        page.keyboard.press("n")
        expect(row(page, f"{word} first")).to_have_attribute("data-row", "0")
        expect(page.get_by_role("button", name="new incident")).to_have_count(0)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_row_moves_when_news_end(served: Served, logged_in: Open, viewport: dict[str, int]) -> None:
    """After forty seconds without a word from the API the page says so, over the rows."""
    with logged_in(viewport=viewport) as somebody:
        opened_incident(served, somebody, "without news")
        somebody.page.clock.install()
        page = somebody.go("incidents?q=without+news")
        expect(row(page, "without news")).to_be_visible()
        expect(page.get_by_text("Live", exact=True)).to_be_attached()
        before = boxes(page)
        page.clock.fast_forward(50_000)
        expect(page.get_by_role("status").filter(has_text="No news come now")).to_be_visible()
        assert boxes(page) == before


def test_what_comes_while_the_list_is_read_is_offered(served: Served, logged_in: Open) -> None:
    """An incident that opens after the API read the list and before the page shows it is not forgotten."""
    with logged_in() as somebody:
        opened_incident(served, somebody, "slowly read")
        page = somebody.go("incidents?q=opened+in+between")
        expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()

        def late(route: Route) -> None:
            answer = route.fetch()
            opened_incident(served, somebody, "slowly read too")
            route.fulfill(response=answer)

        page.route("**/api/v1/incidents?*limit=100*", late, times=1)
        page.get_by_label("Search incidents").fill("slowly")
        expect(row(page, "slowly read")).to_be_visible()
        expect(page.get_by_role("button", name="1 new incident: show")).to_be_visible()


def test_an_answer_of_before_hides_no_change(served: Served, logged_in: Open) -> None:
    """An incident that is acknowledged between what the API reads and what the page gets stays acknowledged."""
    with logged_in("member") as somebody:
        page = somebody.go("incidents?q=found+late")
        expect(page.get_by_text("Live", exact=True)).to_be_attached()
        incident = opened_incident(served, somebody, "found late")

        def late(route: Route) -> None:
            answer = route.fetch()
            somebody.call("POST", f"/incidents/{incident}/commands", {"action": "acknowledge"})
            expect(page.get_by_role("button", name="Take back")).to_be_visible()
            found = answer.json() | {"links": [{"href": "https://example.org/", "text": "runbook"}]}
            route.fulfill(response=answer, json=found)

        page.route(f"**/api/v1/incidents/{incident}", late, times=1)
        somebody.go(f"incidents/{incident}")
        # Only the late answer has links.
        expect(page.get_by_role("link", name="runbook")).to_be_visible()
        expect(page.get_by_role("button", name="Take back")).to_be_visible()


def test_acknowledge_and_undo_by_keyboard(served: Served, logged_in: Open) -> None:
    """`j` goes to a row, `a` acknowledges it, and the toast takes it back; the timeline has both."""
    with logged_in("member") as somebody:
        opened_incident(served, somebody, "by keyboard")
        page = somebody.go("incidents?q=keyboard")
        expect(row(page, "by keyboard")).to_be_visible()
        page.keyboard.press("j")
        expect(page.get_by_role("link", name="by keyboard")).to_be_focused()
        page.keyboard.press("a")
        expect(row(page, "by keyboard")).to_contain_text("acknowledged")
        page.get_by_role("button", name="Undo").click()
        expect(row(page, "by keyboard")).to_contain_text("open")
        page.get_by_role("link", name="by keyboard").press("Enter")
        expect(page.get_by_role("heading", name="by keyboard")).to_be_visible()
        page.keyboard.press("r")
        expect(page.get_by_role("main").get_by_text("resolved").first).to_be_visible()
        page.keyboard.press("Escape")
        expect(page).to_have_url(re.compile("q=keyboard"))


def test_many_at_once(served: Served, logged_in: Open) -> None:
    """`x` selects, the bar says how many, and one action is for all of them."""
    with logged_in("member") as somebody:
        for name in ("bulk one", "bulk two", "bulk three"):
            opened_incident(served, somebody, name)
        page = somebody.go("incidents?q=bulk")
        expect(page.locator("[data-row]")).to_have_count(3)
        for key in "jxjx":
            page.keyboard.press(key)
        bar = page.get_by_role("toolbar", name="Actions on the selected incidents")
        expect(bar).to_contain_text("2 incidents selected")
        bar.get_by_role("button", name="Acknowledge").click()
        expect(page.locator("[data-row]", has_text="acknowledged")).to_have_count(2)


def test_filters_live_in_the_address(served: Served, logged_in: Open) -> None:
    """Facets have counts and narrow the list; the address shows the same to others; a view keeps it under a name."""
    with logged_in() as somebody:
        opened_incident(served, somebody, "facet warning", severity="warning")
        opened_incident(served, somebody, "facet critical")
        page = somebody.go("incidents?q=facet")
        expect(page.locator("[data-row]")).to_have_count(2)
        page.get_by_role("group", name="Severity").get_by_role("button", name="warning").click()
        expect(page.locator("[data-row]")).to_have_count(1)
        expect(page).to_have_url(re.compile("severity=warning"))
        page.get_by_role("button", name="Save this view").click()
        page.get_by_label("Name").fill("Warnings of facet")
        page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("link", name="All unresolved").click()
        expect(row(page, "facet critical")).to_be_visible()
        page.get_by_role("link", name="Warnings of facet").click()
        expect(page.locator("[data-row]")).to_have_count(1)
        page.keyboard.press("/")
        expect(page.get_by_label("Search incidents")).to_be_focused()
        page.keyboard.type("nothing like this")
        expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()


def test_what_happened_in_one_look(served: Served, logged_in: Open) -> None:
    """An incident's page shows who was told, and a note of somebody else appears by itself."""
    with logged_in("member") as somebody, logged_in() as other:
        incident = opened_incident(served, somebody, "one look")
        page = somebody.go(f"incidents/{incident}")
        expect(page.get_by_role("heading", name="one look")).to_be_visible()
        expect(page.get_by_text("The incident opened").first).to_be_visible(timeout=30_000)
        other.call("POST", f"/incidents/{incident}/commands", {"action": "note", "note": "the vendor is called"})
        expect(page.get_by_text("the vendor is called")).to_be_visible(timeout=30_000)
        page.get_by_role("button", name="Note").click()
        page.get_by_label("For the timeline").fill("they look at the line card")
        page.get_by_role("button", name="Add the note").click()
        expect(page.get_by_text("they look at the line card")).to_be_visible(timeout=30_000)
        page.get_by_role("button", name="Alerts", exact=True).click()
        expect(page.get_by_role("region", name="Record").get_by_text("one look").first).to_be_visible()


def test_palette(served: Served, logged_in: Open) -> None:
    """Ctrl-K finds pages and incidents by their text, and goes there by the keyboard."""
    with logged_in() as somebody:
        incident = opened_incident(served, somebody, "palette target")
        page = somebody.go("incidents")
        page.keyboard.press("Control+k")
        page.keyboard.type("heartb")
        page.keyboard.press("Escape")
        page.keyboard.press("Control+k")
        page.get_by_role("combobox", name="Go to").fill("palette tar")
        expect(page.get_by_role("option", name="palette target")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(incident))


def test_fields_of_alerts_are_hostile(served: Served, logged_in: Open) -> None:
    """Markup in any field is text, a script as a link is no link; a browser has nothing to complain about."""
    with logged_in() as somebody:
        links = [{"href": "javascript:alert(1)", "text": HOSTILE}, {"href": "https://example.com/run", "text": HOSTILE}]
        fields = dict.fromkeys(("source", "component", "group", "class"), HOSTILE)
        incident = opened_incident(served, somebody, HOSTILE, links=links, custom_details={HOSTILE: HOSTILE}, **fields)
        page = somebody.go("incidents")
        expect(row(page, HOSTILE)).to_be_visible()
        somebody.go(f"incidents/{incident}")
        expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
        for tab in ("Alerts", "Messages", "Explain", "Timeline"):
            page.get_by_role("button", name=tab, exact=True).click()
        page.wait_for_timeout(300)
        assert page.locator("img[src='x'], a[href^='javascript']").count() == 0
        for link in page.locator("a[target=_blank]").all():
            assert link.get_attribute("rel") == "noopener noreferrer"


def test_a_viewer_only_looks(served: Served, logged_in: Open) -> None:
    """Without the role there are no buttons, and the keys do nothing."""
    with logged_in("viewer") as somebody:
        opened_incident(served, somebody, "only looked at")
        page = somebody.go("incidents?q=looked")
        expect(row(page, "only looked at")).to_be_visible()
        expect(row(page, "only looked at").get_by_role("button")).to_have_count(0)
        page.keyboard.press("j")
        page.keyboard.press("a")
        page.wait_for_timeout(300)
        assert wait_for(somebody, "only looked at")["status"] == "open"


def test_acknowledge_at_night_on_a_phone(served: Served, logged_in: Open) -> None:
    """At 360 pixels, in the dark, nothing is cut off, and one tap acknowledges."""
    with logged_in("member", viewport=PHONE, color_scheme="dark", has_touch=True) as somebody:
        incident = opened_incident(served, somebody, "wakes somebody")
        page = somebody.go("incidents?q=wakes")
        row(page, "wakes somebody").get_by_role("button", name="Ack").tap()
        expect(page.get_by_text("You acknowledged")).to_be_visible()
        page.get_by_role("button", name="Undo").tap()
        wait_for(somebody, "wakes somebody", lambda shown: shown["status"] == "open")
        somebody.go(f"incidents/{incident}")
        expect(page.get_by_role("heading", name="wakes somebody")).to_be_visible()
        page.get_by_role("toolbar", name="Actions").get_by_role("button", name="Acknowledge").tap()
        expect(page.get_by_role("button", name="Take back")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
