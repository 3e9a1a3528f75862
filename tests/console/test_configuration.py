"""Records are written as forms or text, checked before, and never over somebody else's change."""

import re

import pytest
from playwright.sync_api import expect

from tests.console.conftest import Open

pytestmark = pytest.mark.stack


def test_a_rule_by_its_form(logged_in: Open) -> None:
    """A mistake is shown at its field; a check shows the difference; what is saved is in the list and in the text."""
    with logged_in("admin") as opened:
        page = opened.go("rules/rule/new")
        page.get_by_label("Id *").fill("production")
        page.get_by_label("Match").fill("labels.env = = prod")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_label("Match")).to_have_attribute("aria-invalid", "true")
        page.get_by_label("Match").fill('labels.env="prod"')
        page.get_by_label("Severity").first.select_option("critical")
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_role("region", name="What would change")).to_contain_text("production")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").get_by_text("Saved.")).to_be_visible()
        page.get_by_role("button", name="Text").click()
        expect(page.get_by_label("The record in JSON")).to_have_value(re.compile('"production"'))
        page.get_by_role("link", name="Rule", exact=True).click()
        expect(page.get_by_role("link", name="production")).to_be_visible()


def test_nested_fields(logged_in: Open) -> None:
    """Lists of parts are added and filled in: an override of a schedule, and a schedule with a layer."""
    with logged_in("admin") as opened:
        page = opened.go("rules/schedule/new")
        page.get_by_label("Id *").fill("second")
        page.get_by_label("Zone").fill("Europe/Berlin")
        page.get_by_role("button", name="Add to layers").click()
        page.get_by_label("Users").fill("grace")
        page.get_by_label("Start *").fill("2026-11-02")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").get_by_text("Saved.")).to_be_visible()
        stored = opened.call("GET", "/records/schedule/second")["record"]
        assert stored["layers"][0]["users"] == ["grace"]


def test_two_people_change_the_same_record(logged_in: Open) -> None:
    """The second save is refused, and says so; the first one's change stays until the second person has read it."""
    with logged_in("admin") as opened:
        service = {"name": "Before"}
        opened.call("PUT", "/records/service/contended", service, **{"if-none-match": "*"})
        page = opened.go("rules/service/contended")
        expect(page.get_by_label("Name").first).to_have_value("Before")
        version = opened.call("GET", "/records/service/contended")["version"]
        opened.call("PUT", "/records/service/contended", {"name": "Theirs"}, **{"if-match": f'"{version}"'})
        page.get_by_label("Name").first.fill("Mine")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Somebody changed it meanwhile.")).to_be_visible()
        page.get_by_role("button", name="Read theirs, lose mine").click()
        expect(page.get_by_label("Name").first).to_have_value("Theirs")


def test_secrets_are_kept_and_never_shown(logged_in: Open) -> None:
    """A destination's form has its channel's fields; a secret is shown as stars, and kept by a save."""
    with logged_in("admin") as opened:
        page = opened.go("rules/destination/new?type=webhook")
        page.get_by_label("Id *").fill("signed")
        page.get_by_label("Url").fill("https://example.com/hook/very-secret-path")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").get_by_text("Saved.")).to_be_visible()
        expect(page.get_by_role("button", name="Delete")).to_be_visible()
        page.get_by_label("Name", exact=True).fill("Signed hook")
        with page.expect_response(lambda answer: answer.request.method == "PUT" and answer.ok):
            page.get_by_role("button", name="Save").click()
        page.reload()
        expect(page.get_by_label("Name", exact=True)).to_have_value("Signed hook")
        assert "very-secret-path" not in page.content()


def test_a_whole_file(logged_in: Open) -> None:
    """A file is applied only after its differences were shown; a mistake is named with its path."""
    with logged_in("admin") as opened:
        page = opened.go("rules/file")
        page.get_by_label("stormweir.yaml").fill("services:\n  - {id: from-file, dedup_window: soon}\n")
        page.get_by_role("button", name="Show the differences").click()
        expect(page.get_by_role("alert")).to_contain_text("services.0.dedup_window")
        page.get_by_label("stormweir.yaml").fill("services:\n  - {id: from-file}\n")
        expect(page.get_by_role("button", name="Apply")).to_be_disabled()
        page.get_by_role("button", name="Show the differences").click()
        expect(page.get_by_role("region", name="What would change")).to_contain_text("from-file")
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status").get_by_text("The file is applied.")).to_be_visible()


def test_delete_a_record(logged_in: Open) -> None:
    """A record is deleted after a question; one that others need is kept, and the page says why."""
    with logged_in("admin") as opened:
        opened.call("PUT", "/records/service/short-lived", {}, **{"if-none-match": "*"})
        page = opened.go("rules/service/short-lived")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("link", name="shop")).to_be_visible()
        expect(page.get_by_role("link", name="short-lived")).to_have_count(0)
        page = opened.go("rules/service/shop")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("alert")).to_be_visible()


def test_a_member_writes_silences_only(logged_in: Open) -> None:
    """A member may add a silence; of a rule there is only a form that cannot be changed."""
    with logged_in("member") as opened:
        page = opened.go("rules/silence")
        expect(page.get_by_role("link", name="Add")).to_be_visible()
        page.get_by_role("navigation", name="Kinds").get_by_role("link", name="Service").click()
        page.get_by_role("link", name="payments").click()
        expect(page.get_by_label("Id *")).to_be_disabled()
        expect(page.get_by_role("button", name="Save")).to_have_count(0)
