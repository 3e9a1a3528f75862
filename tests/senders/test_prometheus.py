"""Debian's Prometheus, alone and with Alertmanager: what goes down and comes up, by every way that they have."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.conftest import FreePorts
from tests.senders.conftest import Stack, eventually, key

PROGRAMS = ("prometheus", "prometheus-alertmanager")
pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(
        not all(map(shutil.which, PROGRAMS)), reason=f"needs Debian's packages {' and '.join(PROGRAMS)}"
    ),
]


class Shop(BaseHTTPRequestHandler):
    """A scrape target that is up."""

    def do_GET(self) -> None:
        """One metric."""
        body = b"shop_orders_total 1\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def opened_shop(port: int) -> Iterator[None]:
    """The target answers as long as this lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(directory: Path, *command: str) -> Iterator[None]:
    """A program whose output is in the directory."""
    with (directory / f"{command[0]}.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def configure(directory: Path, stack: Stack, alertmanager: int, shops: list[int]) -> None:
    """One rule, which fires while a shop is down, and three receivers for it; everything at the pace of a second.

    Prometheus tells the gateway, too, as if it were another Alertmanager.
    """
    alertmanagers = [
        {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]},
        {
            "path_prefix": f"/api/integrations/prometheus/{key('prometheus-alone')}",
            "static_configs": [{"targets": [stack.url.removeprefix("http://")]}],
        },
    ]
    files = {
        "prometheus.yml": {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": alertmanagers},
            "scrape_configs": [
                {"job_name": "shop", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in shops]}]}
            ],
        },
        "rules.yml": {
            "groups": [
                {
                    "name": "shops",
                    "rules": [
                        {
                            "alert": "ShopDown",
                            "expr": 'up{job="shop"} == 0',
                            "labels": {"severity": "critical"},
                            "annotations": {"summary": "The shop at {{ $labels.instance }} is down"},
                        }
                    ],
                }
            ]
        },
        "alertmanager.yml": {
            "route": {
                "receiver": "webhook",
                "group_wait": "1s",
                "group_interval": "1s",
                "repeat_interval": "1h",
                "routes": [
                    {"receiver": "webhook", "group_by": ["alertname"], "continue": True},
                    {"receiver": "pagerduty", "group_by": ["alertname", "instance"], "continue": True},
                    {"receiver": "opsgenie", "group_by": ["alertname", "instance"]},
                ],
            },
            "receivers": [
                {
                    "name": "webhook",
                    "webhook_configs": [{"url": stack.webhook("alertmanager-webhook"), "send_resolved": True}],
                },
                {
                    "name": "pagerduty",
                    "pagerduty_configs": [
                        {
                            "url": f"{stack.url}/v2/enqueue",
                            "routing_key": key("alertmanager-pagerduty"),
                            "severity": "{{ .CommonLabels.severity }}",
                            "send_resolved": True,
                        }
                    ],
                },
                {
                    "name": "opsgenie",
                    "opsgenie_configs": [
                        {
                            "api_url": f"{stack.url}/",
                            "api_key": key("alertmanager-opsgenie"),
                            "priority": '{{ if eq .CommonLabels.severity "critical" }}P1{{ else }}P3{{ end }}',
                            "send_resolved": True,
                        }
                    ],
                },
            ],
        },
    }
    for name, content in files.items():
        (directory / name).write_text(yaml.safe_dump(content))


def wait_for_shops(stack: Stack, service: str, expected: dict[int, str]) -> None:
    """Until the service has one critical incident for each shop, whose title names its port, in these states."""

    def found() -> list[tuple[int, str]]:
        incidents = [row for row in stack.incidents(service).values() if row[1] == "critical"]
        return sorted((port, row[0]) for port in expected for row in incidents if f"127.0.0.1:{port}" in row[2])

    eventually(found, sorted(expected.items()))
    assert len(stack.incidents(service)) == len(expected)


@pytest.mark.timeout(150)
def test_what_fires_and_resolves_in_prometheus_does_so_here(
    stack: Stack, tmp_path: Path, free_ports: FreePorts
) -> None:
    """Two shops are down: two critical incidents by each way. One comes up: its incidents alone resolve.

    By webhook both alerts are in one group, whose own status is firing throughout.
    """
    web, alertmanager, first, second = free_ports(4)
    configure(tmp_path, stack, alertmanager, [first, second])
    with ExitStack() as programs:
        programs.enter_context(
            running(
                tmp_path,
                "prometheus-alertmanager",
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
            )
        )
        programs.enter_context(
            running(
                tmp_path,
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=prometheus",
                f"--web.listen-address=127.0.0.1:{web}",
                "--rules.alert.resend-delay=1s",
            )
        )
        services = ("alertmanager-webhook", "alertmanager-pagerduty", "alertmanager-opsgenie", "prometheus-alone")
        for service in services:
            wait_for_shops(stack, service, {first: "open", second: "open"})
        with opened_shop(first):
            for service in services:
                wait_for_shops(stack, service, {first: "resolved", second: "open"})
