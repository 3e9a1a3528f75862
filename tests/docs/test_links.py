"""No page sends its reader nowhere."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.page import ROOT

_HIDDEN = {".venv", ".cache", "var", "node_modules"}
PAGES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.md")
    if not any(part in _HIDDEN or part.startswith(".") for part in path.relative_to(ROOT).parts)
)


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Files and headings that a page links to exist in the checkout."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


def test_all_pages_are_looked_at() -> None:
    """The pages that the README names are among those that are checked."""
    assert {"README.md", "docs/operations.md", "docs/adr/README.md"} <= {str(page) for page in PAGES}
