"""A platform in trouble, as the pictures of README.md show it. They are made again by

.venv/bin/python -m pytest tests/console/pictures.py

Other runs leave this module out: it takes two minutes, and shows what the other tests of the console assert.
"""

import base64
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import FreePorts, free_base
from tests.console.bundle import ROOT, built
from tests.console.conftest import Served
from tests.console.people import PASSWORD, Window, make_account, window
from tests.console.sample import FILE, send_sample
from tests.console.test_pages import violations
from tests.docs.conftest import following

pytestmark = pytest.mark.stack

_FOLDER = ROOT / "docs/pictures"
_SIZE = {"width": 1360, "height": 820}
_LOW = {"width": 1360, "height": 560}
_PHONE = {"width": 390, "height": 780}
#: So that the README loads fast.
_MOST_BYTES = 150_000
_STORM = "Storm of core-network"


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, free_ports: FreePorts) -> Iterator[Served]:
    """A stack of its own with the sample; all destinations answer."""
    built()
    folder = tmp_path_factory.mktemp("pictures")
    with following(Served(folder, free_base(free_ports))) as stack:
        receiver = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "receiver"], cwd=ROOT, env=dict(stack.environ)
        )
        try:
            file = folder / "sample.yaml"
            file.write_text(stack.moved(FILE.read_text()))
            stack.bash(f"stormweir apply -f {file}")
            send_sample(stack)
            yield stack
        finally:
            receiver.terminate()
            assert receiver.wait(30) == 0


@pytest.fixture(scope="module")
def storm(troubled: Served, browser: Browser) -> Iterator[str]:
    """The id of the storm's incident; Grace has an account, and the database's lag."""
    with window(browser, troubled.address) as opened:
        make_account(opened.page, troubled.link, "Grace Hopper", "grace")
        opened.page.get_by_text("owner of default").wait_for()
        lag = listed(opened, "Replication lag")
        opened.call("POST", f"/incidents/{lag}/commands", {"action": "acknowledge"})
        yield listed(opened, _STORM)


#: Name, address, scheme, size, and what must be seen in it.
_PICTURES: dict[str, tuple[str, str, dict[str, int], tuple[str, ...]]] = {
    "incidents": ("incidents", "dark", _SIZE, (_STORM, "Card authorisations fail", "acknowledged")),
    "phone": ("incidents", "dark", _PHONE, (_STORM, "Card authorisations fail")),
    "incident": (
        "incidents/{storm}",
        "light",
        _SIZE,
        ("ops-room", "delivered", "NX-OS 10.4(2)", "NX-OS 10.4(3)", "other incidents"),
    ),
    "services": ("services", "dark", _LOW, ("Core network", "1 open · critical", "quiet")),
    "oncall": ("oncall", "light", _LOW, ("Network, first line", "Ada Lovelace", "Katherine Johnson")),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", _PICTURES)
def test_the_pictures_of_the_readme(troubled: Served, browser: Browser, storm: str, name: str) -> None:
    """Each page shows what a storm is to those who work on it, is accessible, and its picture is small."""
    path, scheme, size, texts = _PICTURES[name]
    options: dict[str, Any] = {"viewport": size, "color_scheme": scheme, "device_scale_factor": 1.5}
    with window(browser, troubled.address, **options) as opened:
        opened.call("POST", "/session", {"login": "grace", "password": PASSWORD})
        page = opened.go(path.format(storm=storm))
        if name == "incident":
            opened.call("POST", f"/incidents/{storm}/commands", {"action": "acknowledge"})
            note = {"action": "note", "note": "Rolling hall B back to NX-OS 10.4(2), leaf-b01 to leaf-b12 are done"}
            opened.call("POST", f"/incidents/{storm}/commands", note)
            expect(page.get_by_text("more alerts joined")).to_have_count(1)
        if name == "oncall":
            page.get_by_role("button", name="Shifts").first.click()
        for text in texts:
            expect(page.get_by_text(text).filter(visible=True).first).to_be_visible(timeout=60_000)
        expect(page.get_by_label("Loading")).to_have_count(0)
        assert violations(opened, ("color-contrast", "target-size")) == []
        picture = webp(page)
        assert len(picture) <= _MOST_BYTES
        (_FOLDER / f"{name}.webp").write_bytes(picture)


def webp(page: Page) -> bytes:
    """The window as it is seen, in WebP."""
    session = page.context.new_cdp_session(page)
    return base64.b64decode(session.send("Page.captureScreenshot", {"format": "webp", "quality": 85})["data"])


def listed(opened: Window, words: str) -> str:
    """The id of the incident that has these words, as soon as the API lists it."""
    for _ in range(600):
        found = opened.call("GET", f"/incidents?status=open&q={words.replace(' ', '+')}")["items"]
        if found:
            return str(found[0]["id"])
        opened.page.wait_for_timeout(100)
    raise AssertionError(f"{words} is not listed")
