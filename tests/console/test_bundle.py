"""What browsers load: small, and nothing that the content security policy forbids."""

import gzip
import json
import re
from html.parser import HTMLParser

import pytest

from tests.console.bundle import ROOT, SOURCES, built

_MOST_BYTES = 200 * 1024


class _Inline(HTMLParser):
    """Collects what the policy does not let run: scripts, styles and handlers inside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.addresses: list[str] = []
        self._in = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        names = dict(attrs)
        self.found += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        self.addresses += [value for name in ("src", "href") if (value := names.get(name))]
        if tag == "style":
            self.found.append(tag)

    def handle_data(self, data: str) -> None:
        if self._in == "script" and data.strip():
            self.found.append("script")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""


def test_all_that_is_loaded_is_small() -> None:
    """Everything together, compressed, has at most 200 KB."""
    files = [path for path in built().rglob("*") if path.is_file()]
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in files}
    assert sum(sizes.values()) <= _MOST_BYTES, sizes


def test_charts_are_loaded_when_one_is_shown() -> None:
    """The page itself names one script and one style sheet; uPlot is another file."""
    folder = built()
    entries = re.findall(r'(?:src|href)="\./assets/([^"]+)"', (folder / "index.html").read_text())
    scripts = [entry for entry in entries if entry.endswith(".js")]
    assert len(scripts) == 1
    assert "uPlot" not in scripts[0]
    assert any("uPlot" in path.name for path in (folder / "assets").iterdir())


def test_nothing_is_inline() -> None:
    """The built page has no script, style or handler of its own, and loads from its own origin only."""
    page = _Inline()
    page.feed((built() / "index.html").read_text())
    assert page.found == []
    assert [address for address in page.addresses if not address.startswith("./")] == []


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("HTML from text", r"\{@html"),
        ("HTML from text", r"innerHTML|outerHTML|insertAdjacentHTML|document\.write"),
        ("code from text", r"\beval\(|new Function\("),
        ("an inline style", r"\sstyle=\""),
    ],
)
def test_sources_have_no(what: str, pattern: str) -> None:
    """No source makes HTML or code from text, or has a style attribute that the policy would block."""
    found = [f"{path.name}: {what}" for path in SOURCES.rglob("*.*") if re.search(pattern, path.read_text())]
    assert found == []


def test_every_link_out_is_checked() -> None:
    """A link that opens another site is made from a checked address, and tells that site nothing."""
    out = [
        (path, tag)
        for path in SOURCES.rglob("*.svelte")
        for tag in re.findall(r"<a\b[^>]*target=[^>]*>", path.read_text())
    ]
    assert out
    for path, tag in out:
        assert 'rel="noopener noreferrer"' in tag, tag
        assert re.search(r"safeHref|safeLinks", path.read_text()), path


def test_only_one_module_calls_the_api() -> None:
    """Requests leave from `api.ts`, and the one event stream from `stream.svelte.ts`."""
    callers = {
        path.name
        for path in SOURCES.rglob("*.*")
        if re.search(r"\bfetch\(|XMLHttpRequest|EventSource\(", path.read_text())
    }
    assert callers == {"api.ts", "stream.svelte.ts"}


def test_packages_are_pinned() -> None:
    """Each package of the console has one version, which the lock has too."""
    folder = ROOT / "streams/console"
    wanted = json.loads((folder / "package.json").read_text())["devDependencies"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
