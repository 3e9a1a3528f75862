"""The supervisor over real processes: small HTTP servers that are told how to behave by their arguments."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from streams.embedded import supervisor as supervisor_module
from streams.embedded.processes import Command, end_orphans
from streams.embedded.supervisor import Supervisor, pause_after, until
from tests.conftest import FreePorts

#: Serves 503 until a file named on the command line exists, then 200; `deaf` ignores SIGTERM.
SERVER = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
port, ready, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        ok = os.path.exists(ready)
        body = b'{"status":"ok"}' if ok else b'{"reason":"still recovering"}'
        self.send_response(200 if ok else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
print("listening", flush=True)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
Serve = Callable[..., Command]


@pytest.fixture
def lines() -> list[str]:
    """What people were told."""
    return []


@pytest.fixture
def alarms() -> list[str]:
    """What people were told in red."""
    return []


@pytest.fixture
async def supervisor(lines: list[str], alarms: list[str]) -> AsyncIterator[Supervisor]:
    """A supervisor whose processes are ended after the test."""
    made = Supervisor(lines.append, alarms.append)
    yield made
    for name in list(made._processes):
        await made.stop(name, time.monotonic())


@pytest.fixture
def serve(tmp_path: Path, free_ports: FreePorts, lines: list[str]) -> Serve:
    """`serve(name, ready=True, mode="plain")`: a command that runs SERVER."""

    def make(name: str, ready: bool = True, mode: str = "plain") -> Command:
        (port,) = free_ports(1)
        flag = tmp_path / f"{name}.ready"
        if ready:
            flag.touch()
        return Command(
            name,
            [sys.executable, "-c", SERVER, str(port), str(flag), mode],
            environ=os.environ,
            ready_url=f"http://127.0.0.1:{port}/readyz",
            directory=tmp_path,
            progress=lines.append,
        )

    return make


async def _within(seconds: float, holds: Callable[[], bool]) -> None:
    assert await until(holds, time.monotonic() + seconds)


async def test_start_waits_for_readiness(supervisor: Supervisor, serve: Serve, tmp_path: Path) -> None:
    """A process that lives but says 503 is not started yet; once it says 200 it is."""
    starting = asyncio.create_task(supervisor.start(serve("a", ready=False), 30))
    await _within(10, lambda: bool(supervisor.pids))
    assert not (await asyncio.wait({starting}, timeout=0.5))[0]
    (tmp_path / "a.ready").touch()
    await starting
    assert set(supervisor.pids) == {"a"}


async def test_not_ready_in_time_tells_why_and_goes_on(
    supervisor: Supervisor, serve: Serve, tmp_path: Path, alarms: list[str]
) -> None:
    """After the timeout people see the end of its log; the process runs on, and counts once it is ready."""
    assert not await supervisor.start(serve("a", ready=False), 1)
    assert alarms == ["a is not ready after 1 s:\n  listening"]
    (tmp_path / "a.ready").touch()
    await asyncio.wait_for(supervisor.ready("a"), 10)


async def test_the_dead_come_back(supervisor: Supervisor, serve: Serve, lines: list[str]) -> None:
    """A process that is killed from outside runs again under a new pid, and people are told."""
    await supervisor.start(serve("a"), 30)
    old = supervisor.pids["a"]
    os.kill(old, signal.SIGKILL)
    await _within(10, lambda: supervisor.pids.get("a", old) != old)
    await supervisor.ready("a")
    assert lines == ["a died and is started again"]


async def test_ordered_kill_holds_until_resume(supervisor: Supervisor, serve: Serve) -> None:
    """`kill(hold=True)` keeps a process down until `resume`; without hold it comes back by itself."""
    await supervisor.start(serve("a"), 30)
    first = supervisor.pids["a"]
    supervisor.kill("a", hold=True)
    assert "a" not in supervisor.pids
    returned = asyncio.create_task(supervisor.ready("a"))
    assert not (await asyncio.wait({returned}, timeout=0.5))[0]
    supervisor.resume("a")
    await returned
    second = supervisor.pids["a"]
    assert second != first

    supervisor.kill("a")
    await supervisor.ready("a")
    assert supervisor.pids["a"] not in (first, second)


def _crashing(tmp_path: Path, free_ports: FreePorts, lines: list[str]) -> Command:
    """Dies with a message as long as the file `broken` is there, then serves."""
    (port,) = free_ports(1)
    (tmp_path / "broken").touch()
    (tmp_path / "looping.ready").touch()
    die = f"import os\nif os.path.exists({str(tmp_path / 'broken')!r}):\n    raise SystemExit('no such setting')\n"
    return Command(
        "looping",
        [sys.executable, "-c", die + SERVER, str(port), str(tmp_path / "looping.ready"), "plain"],
        environ=os.environ,
        ready_url=f"http://127.0.0.1:{port}/readyz",
        directory=tmp_path,
        progress=lines.append,
    )


async def test_what_keeps_dying_is_told_and_tried_again_and_stops_nothing(
    supervisor: Supervisor,
    serve: Serve,
    tmp_path: Path,
    free_ports: FreePorts,
    lines: list[str],
    alarms: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten deaths in a row leave the other process alone; each from the third on is an alarm with the last log
    lines; without the cause it runs, and people are told that too."""
    monkeypatch.setattr(supervisor_module, "_PAUSE_S", 0.001)
    await supervisor.start(serve("other"), 30)
    other = supervisor.pids["other"]
    assert not await supervisor.start(_crashing(tmp_path, free_ports, lines), 30)
    waiting = asyncio.create_task(supervisor.wait())
    await _within(30, lambda: len(alarms) >= 8)
    assert lines == ["looping died before it was ready (status 1) and is started again"] * 2
    assert alarms[0].startswith("looping died before it was ready (status 1), 3 times in a row")
    assert alarms[0].endswith("\n  no such setting\n  no such setting\n  no such setting")
    assert supervisor.pids["other"] == other
    assert not waiting.done()

    (tmp_path / "broken").unlink()
    await asyncio.wait_for(supervisor.ready("looping"), 30)
    assert lines[2:] == ["looping is ready again"]
    waiting.cancel()


def test_pauses_grow_to_thirty_seconds() -> None:
    """0.25 s after the first death, then twice as long each time, and never more than 30 s."""
    assert [pause_after(deaths) for deaths in range(1, 10)] == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pause_after(10_000) == 30


@pytest.mark.parametrize(("ran_well_s", "alarmed"), [(0.0, False), (60.0, True)])
async def test_only_deaths_without_a_good_run_in_between_are_a_crash_loop(
    supervisor: Supervisor,
    serve: Serve,
    alarms: list[str],
    monkeypatch: pytest.MonkeyPatch,
    ran_well_s: float,
    alarmed: bool,
) -> None:
    """A process that ran well before it died died for the first time, however often that happens."""
    monkeypatch.setattr(supervisor_module, "_PAUSE_S", 0.001)
    monkeypatch.setattr(supervisor_module, "RAN_WELL_S", ran_well_s)
    await supervisor.start(serve("a"), 30)
    for _ in range(3):
        old = supervisor.pids["a"]
        os.kill(old, signal.SIGKILL)
        await _within(10, lambda old=old: supervisor.pids.get("a", old) != old)  # type: ignore[misc]
        await supervisor.ready("a")
    assert bool(alarms) == alarmed


async def test_stop_asks_first_and_kills_at_the_deadline(
    supervisor: Supervisor, serve: Serve, lines: list[str]
) -> None:
    """SIGTERM is enough for a polite process; one that ignores it is killed at the deadline, and is not restarted."""
    await supervisor.start(serve("polite"), 30)
    await supervisor.start(serve("deaf", mode="deaf"), 30)
    polite, deaf = supervisor.pids["polite"], supervisor.pids["deaf"]
    await supervisor.stop("polite", time.monotonic() + 30)
    assert lines == []
    await supervisor.stop("deaf", time.monotonic() + 0.5)
    assert lines == ["deaf did not end in time and is killed"]
    for pid in (polite, deaf):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_orphans_of_a_killed_stack_are_ended_and_strangers_are_not(
    serve: Serve, tmp_path: Path, lines: list[str]
) -> None:
    """What pid files name is ended when start times agree; a pid that was given to somebody else is left alone."""
    orphan = serve("orphan")
    await orphan.start()
    stranger = serve("stranger")
    await stranger.start()
    (tmp_path / "pids" / "stranger").write_text(f"{stranger.pid} 1\n")
    (tmp_path / "pids" / "garbage").write_text("")
    pid = orphan.pid

    await end_orphans(tmp_path, lines.append)
    try:
        assert lines == [f"ending orphan (pid {pid}), which an earlier stack left running"]
        assert orphan.pid is None
        assert stranger.pid is not None
        assert list((tmp_path / "pids").iterdir()) == []
    finally:
        stranger.kill()


async def test_a_prepared_process_waits_for_its_start_and_can_be_ended_before(
    tmp_path: Path, free_ports: FreePorts, lines: list[str]
) -> None:
    """`prepare` runs a program up to where it reads its standard input to the end; `start` lets it go on; what was
    prepared and never started leaves nothing behind."""
    (port,) = free_ports(1)
    (tmp_path / "ready").touch()
    command = Command(
        "prepared",
        [sys.executable, "-c", f"import sys\nprint('waits', flush=True)\nsys.stdin.read()\n{SERVER}",
         str(port), str(tmp_path / "ready"), "plain"],
        environ=os.environ,
        ready_url=f"http://127.0.0.1:{port}/readyz",
        directory=tmp_path,
        progress=lines.append,
    )  # fmt: skip
    command.prepare()
    pid = command.pid
    await _within(10, lambda: command.last_lines() == "  waits")
    await command.start()
    assert command.pid == pid
    assert command.last_lines() == "  waits\n  listening"
    command.kill()
    command.prepare()
    assert command.pid is not None
    command.kill()
    assert command.pid is None
    assert list((tmp_path / "pids").iterdir()) == []
