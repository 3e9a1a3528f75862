"""The console's list of incidents in a real Chromium: the time between its frames, its rows, and its heap."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from playwright.async_api import Page, async_playwright

from benchmarks.process import CHECKOUT, ContenderError

#: Every frame is timed; each tenth also looks which incidents the rows in sight are.
_WATCH = """() => {
  const seen = (window.watched = { frames: [], looks: 0, moved: 0, stop: false });
  const rows = () => [...document.querySelectorAll('[data-row] a')].map((link) => link.hash).join();
  const first = rows();
  let last = performance.now();
  requestAnimationFrame(function frame(now) {
    seen.frames.push(now - last);
    last = now;
    if (seen.frames.length % 10 === 0) { seen.looks += 1; if (rows() !== first) seen.moved += 1; }
    if (!seen.stop) requestAnimationFrame(frame);
  });
}"""
_END = "() => { const seen = window.watched; seen.stop = true; delete window.watched; return seen; }"
#: The alerts in each row in sight, by the incident's id.
_SHOWN = """() => Object.fromEntries([...document.querySelectorAll('[data-row]')].map((row) => {
  const alerts = row.querySelector('.alerts').title.split(' alert')[0].replace(/\\D/g, '');
  return [row.querySelector('a').hash.split('/').pop(), Number(alerts)];
}))"""


class Seen(NamedTuple):
    """What the page noted: times between frames in ms, looks at its rows, and how many found other rows."""

    frames: list[float]
    looks: int
    moved: int


class Watched:
    """A page that notes its frames."""

    def __init__(self, tab: Page) -> None:
        self._tab = tab

    async def count(self) -> int:
        """Frames so far."""
        return int(await self._tab.evaluate("window.watched.frames.length"))

    async def end(self) -> Seen:
        """Stop; what the page noted."""
        seen = await self._tab.evaluate(_END)
        return Seen(seen["frames"], seen["looks"], seen["moved"])


@asynccontextmanager
async def incidents_tab(base: str, login: Mapping[str, str]) -> AsyncIterator[Page]:
    """The list of incidents as somebody who logged in sees it, once it has rows. Raises ContenderError."""
    chromium = shutil.which("chromium")
    if chromium is None or not (CHECKOUT / "streams/api/static/index.html").is_file():
        raise ContenderError("needs a built console and a browser: make console; apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            context = await browser.new_context(viewport={"width": 1320, "height": 860})
            answer = await context.request.post(f"{base}/api/v1/session", data=dict(login), headers={"origin": base})
            if not answer.ok:
                raise ContenderError(f"no session for the browser: {answer.status}")
            tab = await context.new_page()
            await tab.goto(f"{base}/#/incidents")
            await tab.locator("[data-row]").first.wait_for()
            yield tab
        finally:
            await browser.close()


async def watch(tab: Page) -> Watched:
    """Let the page note its frames."""
    await tab.evaluate(_WATCH)
    return Watched(tab)


async def until_shown(tab: Page, listed: Mapping[str, int], patience_s: float) -> None:
    """Wait until each row in sight shows as many alerts as the API lists. Raises TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not _same(await tab.evaluate(_SHOWN), listed):  # noqa: ASYNC110 - the page tells nobody
            await asyncio.sleep(0.1)


def _same(shown: Mapping[str, int], listed: Mapping[str, int]) -> bool:
    return bool(shown) and all(listed.get(each) == alerts for each, alerts in shown.items())


async def heap_mb(tab: Page) -> float:
    """What the tab's heap holds after a garbage collection. https://chromedevtools.github.io/devtools-protocol/"""
    devtools = await tab.context.new_cdp_session(tab)
    await devtools.send("HeapProfiler.collectGarbage")
    used = await devtools.send("Runtime.getHeapUsage")
    await devtools.detach()
    return float(used["usedSize"]) / 2**20
