"""(b) The gateway compared with a handler that only answers and with Prometheus Alertmanager, all loaded by wrk.

All get the same alerts, about 530 bytes each: Events API v2 (one per request) and Alertmanager v4 (64 per
request) for the gateway and the null handler, `POST /api/v2/alerts` for Alertmanager. The gateway answers
after the broker has written (acks=all); Alertmanager keeps alerts in memory. wrk shares the cores with them.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.broker import topics_made_anew
from benchmarks.process import CHECKOUT, ContenderError, cpu_us, median
from benchmarks.report import Progress, Run
from benchmarks.sink import serving
from schemas.settings import Settings
from streams.control.follow import publish
from streams.process.kafka import Kafka
from streams.storm.bodies import integration_id, service_id
from streams.storm.sample import sample_records

GATEWAY, NULL, ALERTMANAGER = "gateway", "null", "alertmanager"
#: Alerts per request -> numbers of connections.
LOADS = {1: (1, 64, 256), 64: (1, 8, 64, 256)}
KEYS = 5_000
SERVICES = 10
ALERT_BYTES = 530
_READY_S = 60.0

_ALERTMANAGER_YML = """\
route:
  receiver: sink
  group_by: [service]
  group_wait: 1s
  group_interval: 5s
  repeat_interval: 4h
receivers:
  - name: sink
    webhook_configs:
      - url: http://127.0.0.1:{sink}/
        send_resolved: true
"""


def measure(bootstrap: str, scratch: Path, ports: int, rounds: int, seconds: int, progress: Progress) -> list[Run]:
    """Measure every contender once per round under every load. Uses the ports `ports` to `ports + 30`."""
    for tool in ("wrk", "prometheus-alertmanager"):
        if shutil.which(tool) is None:
            raise ContenderError(f"{tool} is missing: apt-get install -y wrk prometheus-alertmanager")
    settings = Settings(data_dir=scratch / "gateway", port_base=ports, kafka=bootstrap)
    asyncio.run(topics_made_anew(settings))
    asyncio.run(publish(Kafka(bootstrap), sample_records(SERVICES, "http://127.0.0.1:9/")))
    files = {(name, size): request_file(scratch, name, size) for name in (NULL, ALERTMANAGER) for size in LOADS}
    servers: dict[str, Callable[[], AbstractContextManager[tuple[int, int]]]] = {
        NULL: lambda: _null_handler(ports + 21),
        GATEWAY: lambda: running_gateway(settings),
        ALERTMANAGER: lambda: _alertmanager(scratch, ports + 22, ports + 23),
    }
    runs: list[Run] = []
    for number in range(rounds):
        for contender, start in servers.items():
            with start() as (port, pid):
                for size, numbers in LOADS.items():
                    for connections in numbers:
                        file = files[ALERTMANAGER if contender == ALERTMANAGER else NULL, size]
                        before = cpu_us(pid)
                        result = run_wrk(port, connections, seconds, file)
                        alerts = result["requests"] * size
                        run: Run = {
                            "part": "gateway",
                            "contender": contender,
                            "alerts_per_request": size,
                            "connections": connections,
                            "round": number,
                            "rate": round(alerts / result["seconds"]),
                            "cpu_us": round((cpu_us(pid) - before) / alerts, 2),
                            "p50_ms": result["p50_ms"],
                            "p99_ms": result["p99_ms"],
                        }
                        runs.append(run)
                        progress(
                            f"gateway {contender} {connections} x {size}: {run['rate']:,} alerts/s, "
                            f"p50 {run['p50_ms']} ms, p99 {run['p99_ms']} ms"
                        )
    asyncio.run(topics_made_anew(settings))
    return runs


def summary(runs: list[Run]) -> dict[str, float]:
    """The ratios; empty when this part was not measured."""
    rates: dict[tuple[str, int, int], list[float]] = {}
    for run in runs:
        if run["part"] == "gateway":
            rates.setdefault((run["contender"], run["alerts_per_request"], run["connections"]), []).append(run["rate"])
    if not rates:
        return {}
    middle = {place: median(values) for place, values in rates.items()}
    best = {
        contender: max(rate for (name, size, _), rate in middle.items() if (name, size) == (contender, 64))
        for contender in (GATEWAY, ALERTMANAGER)
    }
    return {
        "gateway_single_vs_null": middle[GATEWAY, 1, 256] / middle[NULL, 1, 256],
        "gateway_single_vs_alertmanager": middle[GATEWAY, 1, 256] / middle[ALERTMANAGER, 1, 256],
        "gateway_batch_vs_alertmanager": best[GATEWAY] / best[ALERTMANAGER],
    }


def run_wrk(port: int, connections: int, seconds: int, requests: Path) -> dict[str, Any]:
    """Load a server as fast as it answers. Returns requests, seconds and latencies; any error is a ContenderError."""
    command, environ = wrk_command(port, connections, seconds, requests)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if result["refused"] or result["broken"] or not result["requests"]:
        raise ContenderError(f"port {port}: {result}")
    return result


def wrk_command(port: int, connections: int, seconds: int, requests: Path) -> tuple[list[str], dict[str, str]]:
    """The wrk command that loads a server with the requests of a file, and its environment variables."""
    script = str(Path(__file__).with_name("wrk.lua"))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script]
    return [*command, f"http://127.0.0.1:{port}"], {**os.environ, "REQUESTS": str(requests)}


def request_file(scratch: Path, name: str, size: int) -> Path:
    """A file of pre-built requests for wrk.lua: `size` alerts each; one request per key for size 1, else 400."""
    path = scratch / f"{name}-{size}.requests"
    with path.open("w") as file:
        for number in range(KEYS if size == 1 else 400):
            first = number * size
            service = number % SERVICES
            alerts = [_alert(service, (first + place) % KEYS) for place in range(size)]
            if name == ALERTMANAGER:
                file.write(f"/api/v2/alerts\t{json.dumps(alerts, separators=(',', ':'))}\n")
            elif size == 1:
                file.write(f"/v2/enqueue\t{json.dumps(_event(service, alerts[0]), separators=(',', ':'))}\n")
            else:
                target = f"/api/integrations/prometheus?integrationId={integration_id('prometheus', service)}"
                file.write(f"{target}\t{json.dumps(_webhook(alerts), separators=(',', ':'))}\n")
    return path


def _alert(service: int, key: int) -> dict[str, Any]:
    alert = {
        "labels": {
            "alertname": "SwitchPortDown",
            "service": service_id(service),
            "severity": ("critical", "error", "warning", "info")[key % 4],
            "instance": f"sw-{key:06d}.example.com:9100",
            "job": "snmp",
            "cluster": f"eu-central-{key % 3}",
            "namespace": "network",
            "pod": f"snmp-exporter-{key % 40:02d}",
        },
        "annotations": {
            "summary": f"Port {key % 48} of switch sw-{key:06d} is down",
            "runbook_url": "https://runbooks.example.com/network/switch-port-down",
            "description": "",
        },
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=ifOperStatus",
    }
    padding = ALERT_BYTES - len(json.dumps(alert, separators=(",", ":")))
    alert["annotations"]["description"] = "x" * padding  # type: ignore[index]
    return alert


def _event(service: int, alert: Mapping[str, Any]) -> dict[str, Any]:
    """An event of the Events API v2 with the alert's content, padded to ALERT_BYTES like the alert."""
    labels, annotations = alert["labels"], alert["annotations"]
    event = {
        "routing_key": integration_id("events_v2", service),
        "event_action": "trigger",
        "dedup_key": labels["instance"],
        "payload": {
            "summary": annotations["summary"],
            "source": labels["instance"],
            "severity": labels["severity"],
            "component": labels["job"],
            "group": labels["cluster"],
            "class": labels["alertname"],
            "custom_details": {"runbook": annotations["runbook_url"], "description": ""},
        },
    }
    padding = ALERT_BYTES - len(json.dumps(event, separators=(",", ":")))
    event["payload"]["custom_details"]["description"] = "x" * padding
    return event


def _webhook(alerts: list[dict[str, Any]]) -> dict[str, Any]:
    started = {"status": "firing", "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "stormweir",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com",
        "alerts": [
            {**alert, **started, "fingerprint": f"{hash(alert['labels']['instance']) & (1 << 64) - 1:016x}"}
            for alert in alerts
        ],
    }


@contextmanager
def running_gateway(settings: Settings, checkout: Path = CHECKOUT) -> Iterator[tuple[int, int]]:
    """Run the gateway of a checkout during the block; yields its port and process id."""
    environ = {**os.environ, **settings.environ()}
    command = [sys.executable, "-m", "streams.cli", "gateway"]
    ready = f"http://127.0.0.1:{settings.port('admin.gateway')}/readyz"
    with _process(command, environ, ready, checkout) as pid:
        yield settings.port("gateway"), pid


@contextmanager
def _null_handler(port: int) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "benchmarks.contenders.null_handler", "127.0.0.1", str(port)]
    with _process(command, os.environ, f"http://127.0.0.1:{port}/") as pid:
        yield port, pid


@contextmanager
def _alertmanager(scratch: Path, port: int, sink: int) -> Iterator[tuple[int, int]]:
    home = scratch / "alertmanager"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "alertmanager.yml").write_text(_ALERTMANAGER_YML.format(sink=sink))
    command = [
        "prometheus-alertmanager",
        f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    with serving(sink), _process(command, os.environ, f"http://127.0.0.1:{port}/-/ready") as pid:
        yield port, pid


@contextmanager
def _process(
    command: list[str], environ: Mapping[str, str], ready_url: str, checkout: Path = CHECKOUT
) -> Iterator[int]:
    """Run a server during the block; yields its process id once it is ready. Raises ContenderError otherwise."""
    process = subprocess.Popen(
        command, cwd=checkout, env=dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + _READY_S
        while not _answers(ready_url):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                _, err = process.communicate()
                raise ContenderError(f"{command[:3]} is not ready: {err.decode(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:
            return 200 <= int(response.status) < 300
    except OSError:
        return False
