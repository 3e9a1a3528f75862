"""docs/providers: written from the declarations of the providers, which say all that there is to say."""

import json
from typing import Any

import msgspec
import pytest

from schemas.control import FieldMapping
from streams.cli import _pages
from streams.control import catalogue
from streams.providers import PROVIDERS, Context, Draft, NoAlert, Provider
from tests.docs.page import ROOT, codes, read, section, table

SLUGS = list(PROVIDERS)
FOLDER = ROOT / "docs" / "providers"
WRITTEN = _pages.pages(PROVIDERS.values())
#: Every provider fills these; the others are there where the vendor has something for them.
ALWAYS = {"dedup_key", "action", "severity", "summary", "source"}
#: What a declaration need not name: the whole body, or a part of it.
SILENT = {"details"}


def test_every_page_is_written_and_no_other() -> None:
    """The folder has the pages that `stormweir catalog --docs docs/providers` writes, byte for byte."""
    there = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert there == WRITTEN, "run: stormweir catalog --docs docs/providers"


def _drafts(provider: Provider[Any]) -> list[Draft]:
    """The alerts of all of its examples."""
    found: list[Draft] = []
    for example in provider.examples:
        context = Context(bytes(16), example.headers, FieldMapping())
        try:
            found += provider.parse(provider.decode(example.body, context), context)
        except NoAlert:
            continue
    return found


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug != "change_events"])
def test_the_mapping_names_every_field_that_is_filled(slug: str) -> None:
    """What an example puts into an alert is in the table, and the table names fields of alerts only."""
    provider = PROVIDERS[slug]
    named = [ours for ours, _ in provider.fields]
    fields = {name.rstrip("_") for name in Draft.__struct_fields__}
    assert len(named) == len(set(named))
    assert set(named) >= ALWAYS
    assert set(named) <= fields
    filled = {
        name.rstrip("_")
        for draft in _drafts(provider)
        for name, value in msgspec.structs.asdict(draft).items()
        if value and not (name == "labels" and set(value) == {"summary_truncated"})
    }
    assert filled - SILENT <= set(named)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_page_has_what_somebody_needs(slug: str) -> None:
    """Contract B27: set-up steps, URL, methods, signature, mapping, severity, example with its result."""
    text = WRITTEN[f"{slug}.md"]
    provider = PROVIDERS[slug]
    assert text.splitlines()[1] == f"# {provider.title}"
    assert text.count("\n1. ") == 1
    about = {row[0]: row[1] for row in table(section(text, "Connect it"))}
    assert f"/api/integrations/{slug}?integrationId=<key>" in about["URL"]
    assert about["Methods"] == ", ".join(provider.methods)
    assert about["Signature"]
    assert [codes(row[0])[0] for row in table(section(text, "What becomes what"))] == [
        ours for ours, _ in provider.fields
    ]
    assert "Severity: " in text
    result = section(text, "Examples").partition("```json\n")[2].partition("```")[0]
    assert json.loads(result)


def test_the_table_of_all_leads_to_every_page() -> None:
    """docs/providers/README.md has a row for each, and one of what its keys mean and how many requests it may send."""
    tools, _, keys = WRITTEN["README.md"].partition("## Keys and limits")
    assert {codes(row[1])[0] for row in table(tools)} == set(SLUGS)
    assert {row[0].partition("](")[2].removesuffix(".md)") for row in table(keys)} == set(SLUGS)
    for name, scope, reason, retries, limit in table(keys):
        provider = PROVIDERS[name.partition("](")[2].removesuffix(".md)")]
        assert scope == (
            "for all integrations of a service" if provider.key_scope == "global" else "for each integration"
        )
        assert reason
        assert retries == (" and ".join(map(str, provider.retries)) or "never")
        assert codes(limit) == [str(provider.rate_limit)]


def test_the_catalogue_has_every_provider_and_no_secret() -> None:
    """Contract B27: slugs, URL, headers, steps and a test request as JSON, with a placeholder for the key."""
    listed = json.loads(catalogue.catalogue_json("https://alerts.example.com"))["providers"]
    assert [entry["slug"] for entry in listed] == SLUGS
    for entry in listed:
        assert entry["webhook_url"].endswith("integrationId=<key>")
        assert entry["steps"]
        assert entry["title"]
        assert entry["test_request"].startswith(("curl ", "aws "))
        assert entry["headers"] or entry["slug"] == "cloudwatch"


def test_the_readme_says_how_many_there_are() -> None:
    """README.md names no number of tools that is not theirs."""
    assert f"{len(SLUGS)} " in section(read("README.md"), "Connect a tool")
