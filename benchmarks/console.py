"""`python -m benchmarks.console [--only few,many,closed] [--quick]`: a storm watched in the console, in seven minutes.

A whole stack runs, a real Chromium shows the list of incidents, and 200,000 alerts are played at an even rate. `few`:
2,000 keys in 300 incidents, all of which are in the list before. `many`: 20,000 keys, each an incident of its own.
The page itself notes the time between its frames (`frame`: while alerts are played; `rest`: from then until their
repeats, which count a minute later, are shown), and whether the rows in sight are still the same. The heap is what the
tab holds after a garbage collection: when the list was read, and when the storm is over. `closed`: 1,000 streams are
opened and closed, twice, and what the API's process holds before and after. What the first ones leave is the room that
the allocator keeps for the next ones; so the goal is that the second ones leave nothing.
"""

import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from benchmarks.broker import broker
from benchmarks.command import Command
from benchmarks.process import ContenderError, quantile, rss_mb
from benchmarks.report import Goal, Page, Run
from benchmarks.stack import Running, running
from benchmarks.tab import heap_mb, incidents_tab, until_shown, watch
from schemas.control import Service
from schemas.control.service import Correlation
from schemas.topics import ALERTS_EVENTS
from schemas.wire.events import encode_json
from streams.control.follow import publish
from streams.process.kafka import Kafka
from streams.storm.bodies import event_records, service_id
from streams.storm.counts import Counts
from streams.storm.kafka import send_records
from streams.storm.shapes import Size, specs

PORTS = 21_600
ALERTS, RATE, STREAMS = 200_000, 5_000, 1_000
#: A caller may ask 20 times a second.
STREAMS_S = 18
_PATIENCE_S = 300.0
_LOGIN = {"login": "ada", "password": "correct horse battery"}


class Storm(NamedTuple):
    """What is played: keys, services, and whether a service's alerts are one incident."""

    keys: int
    services: int
    grouped: bool


STORMS = {"few": Storm(2_000, 300, grouped=True), "many": Storm(20_000, 20, grouped=False)}
PARTS = (*STORMS, "closed")

_WATCHED = tuple(
    goal
    for name, words in (("few", "300"), ("many", "20,000"))
    for goal in (
        Goal(f"{name}_frame_p95_ms", f"200,000 alerts in {words} incidents: frame, p95 (ms)", 50, at_least=False),
        Goal(f"{name}_heap", f"200,000 alerts in {words} incidents: heap after / before", 1.2, at_least=False),
        Goal(f"{name}_moved", f"200,000 alerts in {words} incidents: looks at rows that moved", 0, at_least=False),
    )
)
GOALS = (
    *_WATCHED,
    Goal("closed_files", "1,000 streams closed: open files of the API that are left", 0, at_least=False),
    Goal("closed_rss", "another 1,000 streams closed: memory of the API after / before", 1.05, at_least=False),
)
PAGE = Page("A storm watched in the console", "python -m benchmarks.console", "console", "CONSOLE.md", GOALS)


def main() -> int:
    """Measure, and write the page. Returns 1 when a part failed; the newest result is then not replaced."""
    command = Command("python -m benchmarks.console", __doc__, PARTS)
    scratch = Path(tempfile.mkdtemp(prefix="stormweir-console-"))
    runs: list[Run] = []
    try:
        with broker(scratch / "kafka", PORTS + 50, command.progress) as kafka:
            for name in command.wanted:
                stack = running(kafka, scratch / name, PORTS)
                runs.append(asyncio.run(_measure(stack, name, 0.05 if command.quick else 1.0)))
                command.progress(f"{runs[-1]}")
    except (ContenderError, TimeoutError, OSError) as error:
        command.progress(f"failed: {error!r}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    measured = {run["part"] for run in runs}
    return command.conclude(runs, summary(runs), [part for part in command.wanted if part not in measured], PAGE)


def summary(runs: Sequence[Run]) -> dict[str, float]:
    """The figures of the goals."""
    figures: dict[str, float] = {}
    for run in runs:
        if run["part"] == "closed":
            figures["closed_files"] = run["files_after"] - run["files_before"]
            figures["closed_rss"] = run["rss_after_mb"] / run["rss_before_mb"]
        else:
            figures[f"{run['part']}_frame_p95_ms"] = max(run["frame_p95_ms"], run["rest_p95_ms"])
            figures[f"{run['part']}_heap"] = run["heap_after_mb"] / run["heap_before_mb"]
            figures[f"{run['part']}_moved"] = run["moved"]
    return figures


async def _measure(starting: AbstractAsyncContextManager[Running], name: str, part: float) -> Run:
    """One part, on a stack of its own."""
    async with AsyncExitStack() as block:
        stack = await block.enter_async_context(starting)
        base = f"http://127.0.0.1:{stack.settings.port('api')}"
        api = await block.enter_async_context(
            httpx2.AsyncClient(base_url=f"{base}/api/v1", headers={"Sec-Fetch-Site": "same-origin"}, timeout=30)
        )
        token = re.search(r"make the first account at \S+token=(\S+)", _log(stack).read_text())
        if token is None:
            raise ContenderError(f"no link for the first account in {_log(stack)}")
        (await api.post("/setup", json={"token": token[1], "name": "Ada", **_LOGIN})).raise_for_status()
        (await api.post("/session", json=_LOGIN)).raise_for_status()
        if name == "closed":
            return await _closed(stack, api, int(STREAMS * part))
        return await _watched(stack, api, base, name, STORMS[name], part)


def _log(stack: Running) -> Path:
    return stack.settings.data_dir / "logs" / "api.log"


async def _watched(stack: Running, api: httpx2.AsyncClient, base: str, name: str, storm: Storm, part: float) -> Run:
    """Play a storm before a page that shows the list."""
    kafka = Kafka(stack.settings.bootstrap)
    correlation = Correlation(group_by=("service",)) if storm.grouped else None
    await publish(kafka, [Service(id=service_id(each), correlation=correlation) for each in range(storm.services)])
    alerts, keys = int(ALERTS * part), int(storm.keys * part)
    services = min(storm.services, keys)
    # What is in the list before is of every service.
    await _play(kafka, Size(services, services, services, seed=1), RATE)
    await _until_listed(api, services)
    async with incidents_tab(base, _LOGIN) as tab:
        before = await heap_mb(tab)
        watched = await watch(tab)
        began = time.monotonic()
        await _play(kafka, Size(alerts, keys, services, seed=2), RATE)
        sent, played = time.monotonic(), await watched.count()
        listed = await _until_listed(api, services + alerts)
        taken = time.monotonic()
        await until_shown(tab, listed, _PATIENCE_S)
        shown = time.monotonic()
        seen = await watched.end()
        after = await heap_mb(tab)
    frames = sorted(seen.frames[:played])
    rest = sorted(seen.frames[played:])
    return {
        "part": name, "alerts": alerts, "incidents": len(listed), "rate": round(alerts / (sent - began)),
        "taken_s": round(taken - began, 1), "shown_after_s": round(shown - taken, 1), "frames": len(frames),
        **{f"frame_p{share}_ms": round(quantile(frames, share), 1) for share in (50, 95, 99)},
        "longest_ms": round(frames[-1], 1),
        "rest_p95_ms": round(quantile(rest, 95), 1), "rest_longest_ms": round(rest[-1], 1),
        "looks": seen.looks, "moved": seen.moved,
        "heap_before_mb": round(before, 2), "heap_after_mb": round(after, 2), "round": 0,
    }  # fmt: skip


async def _play(kafka: Kafka, size: Size, rate: float) -> None:
    counts = Counts()
    records = event_records(specs("storm", size), encode_json, lambda: time.time_ns() // 1_000_000)
    await send_records(kafka, ALERTS_EVENTS.name, records, counts, rate=rate)
    if counts.accepted != size.alerts:
        raise ContenderError(f"{counts.accepted} of {size.alerts} alerts were acknowledged")


async def _until_listed(api: httpx2.AsyncClient, alerts: int) -> dict[str, int]:
    """The alerts of each incident, once the list has all of them. Raises TimeoutError."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            counts: dict[str, int] = {}
            after = None
            while True:
                page = await _get(api, {"limit": 500, **({"after": after} if after else {})})
                counts |= {each["id"]: each["alert_count"] for each in page["items"]}
                if (after := page["next"]) is None:
                    break
            if sum(counts.values()) >= alerts:
                return counts
            await asyncio.sleep(1)


async def _get(api: httpx2.AsyncClient, params: dict[str, str | int]) -> dict[str, Any]:
    """A page of the list; a caller that asked too often waits."""
    while (answer := await api.get("/incidents", params=params)).status_code == 429:  # noqa: ASYNC110 - it is told so
        await asyncio.sleep(float(answer.headers["retry-after"]))
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


async def _closed(stack: Running, api: httpx2.AsyncClient, count: int) -> Run:
    """Open streams, close all of them, and look at the API's process."""
    pid = stack.pids["api"]
    rss_new = rss_mb(pid)
    await _streams(api, count, pid)
    before = await _settled(pid)
    rss_before = rss_mb(pid)
    rss_open, files_open = await _streams(api, count, pid)
    after = await _settled(pid)
    return {
        "part": "closed", "streams": count, "rss_new_mb": round(rss_new, 1), "rss_before_mb": round(rss_before, 1),
        "rss_open_mb": round(rss_open, 1), "rss_after_mb": round(rss_mb(pid), 1),
        "files_before": before, "files_open": files_open, "files_after": after, "round": 0,
    }  # fmt: skip


async def _streams(api: httpx2.AsyncClient, count: int, pid: int) -> tuple[float, int]:
    """Open so many streams, and close them; memory in MB and open files while all are open."""
    headers = {"cookie": "; ".join(f"{each.name}={each.value}" for each in api.cookies.jar)}
    limits = httpx2.Limits(max_connections=None)
    async with (
        httpx2.AsyncClient(base_url=api.base_url, headers={**api.headers, **headers}, limits=limits) as client,
        AsyncExitStack() as streams,
    ):
        for _ in range(count):
            answer = await streams.enter_async_context(client.stream("GET", "/stream"))
            answer.raise_for_status()
            await asyncio.sleep(1 / STREAMS_S)
        return rss_mb(pid), _files(pid)


async def _settled(pid: int) -> int:
    """The open files of the process, once they have been the same for five seconds."""
    files, same = _files(pid), 0
    while same < 5:
        await asyncio.sleep(1)
        earlier, files = files, _files(pid)
        same = same + 1 if files == earlier else 0
    return files


def _files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
