"""The real Alertmanager on loopback, for 15 seconds: it must send what `alertmanager` computes."""

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.labelled.alertmanager import Notice, Route, labels, notices
from benchmarks.labelled.generator import MINUTE_MS, Event

PROGRAM = "prometheus-alertmanager"


class Verified(NamedTuple):
    """How many notifications the program and the model both sent, and by how much their times differed at most."""

    notices: int
    worst_ms: int


#: The short run: times in milliseconds, service, instance, action. Timeouts, resolves, a flap within one interval, and
#: alerts that come before and after the first flush.
_SCRIPT = (
    (0, "db", "a", "trigger"), (400, "db", "b", "trigger"), (600, "web", "a", "trigger"), (1_500, "db", "c", "trigger"),
    (2_000, "web", "a", "resolve"), (2_400, "db", "a", "trigger"), (2_600, "db", "b", "resolve"),
    (3_000, "web", "a", "trigger"), (4_500, "db", "c", "trigger"), (5_500, "web", "a", "trigger"),
    (6_000, "db", "b", "trigger"), (6_400, "db", "b", "resolve"), (8_500, "web", "a", "resolve"),
    (9_500, "web", "b", "trigger"),
)  # fmt: skip
_SCRIPT_ROUTE = Route(("service",), 1_000, 3_000, 240 * MINUTE_MS, 4_000)
_SCRIPT_MS = 14_500
#: The program's timers, and a busy machine.
_TOLERANCE_MS = 700


def verify(scratch: Path) -> Verified:
    """Run the program on loopback for 15 seconds and compare; `scratch` is an empty directory.

    Raises RuntimeError if the program is not installed or does not start, AssertionError if its notifications differ.
    """
    if shutil.which(PROGRAM) is None:
        raise RuntimeError(f"{PROGRAM} is missing: apt-get install -y {PROGRAM}")
    events = [_scripted(*line) for line in _SCRIPT]
    expected = notices(events, _SCRIPT_ROUTE, _SCRIPT_MS)
    with _webhook() as (port, got), _program(scratch, port) as address:
        begun = time.time()
        for event in events:
            time.sleep(max(0.0, begun + event.at / 1000 - time.time()))
            _post(address, event)
        time.sleep(max(0.0, begun + _SCRIPT_MS / 1000 - time.time()))
    sent = [_read(at - begun, body) for at, body in got]
    worst = 0
    for group in sorted({notice.group for notice in expected} | {notice.group for notice in sent}):
        pair = [[notice for notice in of if notice.group == group] for of in (expected, sent)]
        contents = [[(notice.firing, notice.resolved) for notice in of] for of in pair]
        assert contents[0] == contents[1], f"group {group}: the model {pair[0]}, Alertmanager {pair[1]}"
        worst = max([worst, *(abs(one.at - other.at) for one, other in zip(*pair, strict=True))])
    assert worst <= _TOLERANCE_MS, f"a notification came {worst} ms from the time that the model gives"
    return Verified(len(expected), worst)


def version() -> str:
    """The program's version, as it prints it."""
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).split()[2]


def _scripted(at: int, service: str, instance: str, action: str) -> Event:
    payload = {"class": "down", "group": "one", "source": instance, "severity": "critical"}
    return Event(at, service, {"event_action": action, "dedup_key": f"{service}/{instance}", "payload": payload})


def _post(address: str, event: Event) -> None:
    alert: dict[str, Any] = {"labels": labels(event)}
    if event.body["event_action"] == "resolve":
        alert["endsAt"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    request = urllib.request.Request(
        f"{address}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).close()


def _read(seconds: float, body: dict[str, Any]) -> Notice:
    """A webhook's body as a Notice; the program does not tell the life of a group."""
    parts: dict[str, set[str]] = {"firing": set(), "resolved": set()}
    for alert in body["alerts"]:
        parts[alert["status"]].add(f"{alert['labels']['service']}/{alert['labels']['instance']}")
    group = (body["groupLabels"]["service"],)
    return Notice(int(seconds * 1000), group, 0, frozenset(parts["firing"]), frozenset(parts["resolved"]))


@contextmanager
def _webhook() -> Iterator[tuple[int, list[tuple[float, dict[str, Any]]]]]:
    """A receiver of webhooks: its port, and the list of what comes, each with its time."""
    got: list[tuple[float, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((time.time(), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port, got
        finally:
            server.shutdown()


@contextmanager
def _program(scratch: Path, webhook: int) -> Iterator[str]:
    """Alertmanager on loopback with the script's route: its address, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        listen = f"127.0.0.1:{held.getsockname()[1]}"
    times = {name: f"{getattr(_SCRIPT_ROUTE, name)}ms" for name in ("group_wait", "group_interval", "repeat_interval")}
    route = {"receiver": "hook", "group_by": list(_SCRIPT_ROUTE.group_by), **times}
    config = {
        "global": {"resolve_timeout": f"{_SCRIPT_ROUTE.resolve_timeout}ms"},
        "route": route,
        "receivers": [{"name": "hook", "webhook_configs": [{"url": f"http://127.0.0.1:{webhook}/"}]}],
    }
    # JSON is YAML too.
    (scratch / "alertmanager.yml").write_text(json.dumps(config))
    command = [
        PROGRAM, f"--config.file={scratch / 'alertmanager.yml'}", f"--storage.path={scratch / 'data'}",
        f"--web.listen-address={listen}", "--cluster.listen-address=",
    ]  # fmt: skip
    with (scratch / "alertmanager.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_ready(f"http://{listen}", process, scratch / "alertmanager.log")
        yield f"http://{listen}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/-/ready", timeout=2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"Alertmanager does not start: {log.read_text()[-500:]}")
