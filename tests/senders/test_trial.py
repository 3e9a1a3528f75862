"""`stormweir integrations test` on a whole stack: what it tells, what it leaves."""

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from sinks.clickhouse.migrate import migrate
from tests.docs.page import ROOT
from tests.forks import stormweir
from tests.senders.conftest import Stack, eventually, key

pytestmark = pytest.mark.stack

SECRET = "a secret for trials"
#: The integrations, by name: type, service and what else is set.
INTEGRATIONS: dict[str, tuple[str, str, dict[str, object]]] = {
    "trial-grafana": ("grafana", "trial-told", {"signature": "required", "signature_secret": SECRET}),
    "trial-gitlab": ("gitlab", "trial-lost", {"signature_secret": SECRET}),
    "trial-custom": ("custom", "trial-silent", {"signature_secret": SECRET}),
    "trial-disabled": ("webhook", "trial-told", {"enabled": False}),
    "trial-secretless": ("webhook", "trial-told", {"signature": "required"}),
    "trial-limited": ("zabbix", "trial-limited", {"rate_limit": 1}),
    "trial-cloudwatch": ("cloudwatch", "trial-told", {}),
}


class Run(NamedTuple):
    """One run of the command; with `words` it ends with this status, and tells them."""

    arguments: tuple[str, ...]
    words: str = ""
    status: int = 1
    environ: Mapping[str, str] = {}


RUNS = {
    "told": Run((key("trial-grafana")[:8], "--json")),
    "lost": Run(("trial-gitlab", "--wait", "5")),
    "silent": Run(("trial-custom",)),
    "disabled": Run(("trial-disabled",), "answered 403: the integration is disabled"),
    "secretless": Run(("trial-secretless",), "no secret is set to check it; missing_secret"),
    "limited": Run(("trial-limited", "--wait", "5"), "answered 429: too many requests; send again after"),
    "no gateway": Run(
        ("trial-grafana",), "/grafana cannot be reached", environ={"STORMWEIR_BASE_URL": "http://127.0.0.1:1"}
    ),
    "no writer": Run(
        ("trial-grafana", "--wait", "2"),
        "not in ClickHouse after 2 s. The worker knows",
        environ={"STORMWEIR_CLICKHOUSE_DATABASE": "unwritten"},
    ),
    "no ClickHouse": Run(
        ("trial-grafana", "--wait", "2"),
        "http://127.0.0.1:1 does not answer",
        environ={"STORMWEIR_CLICKHOUSE": "http://127.0.0.1:1"},
    ),
    "by Amazon": Run(("trial-cloudwatch",), "aws cloudwatch set-alarm-state", 2),
    "nobody": Run(("no such integration",), "there is none of this key or name", 2),
}
Done = Mapping[str, subprocess.CompletedProcess[str]]


class _Target(BaseHTTPRequestHandler):
    """Takes every notification."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def trials(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack with these integrations, rules, and two destinations, of which nobody is at one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Target) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file: Path = tmp_path_factory.mktemp("trial") / "trial.yaml"
        rules = {"told": {"route": ["pager"]}, "lost": {"route": ["pager", "nobody"]}, "silent": {"suppress": True}}
        file.write_text(
            yaml.safe_dump(
                {
                    "services": [{"id": service} for service in sorted({each[1] for each in INTEGRATIONS.values()})],
                    "destinations": [
                        {"id": "pager", "url": f"http://127.0.0.1:{server.server_port}/"},
                        {"id": "nobody", "url": "http://127.0.0.1:1/"},
                    ],
                    "rules": [
                        {"id": f"trial-{name}", "match": [f'service="trial-{name}"'], **then}
                        for name, then in rules.items()
                    ],
                    "integrations": [
                        {"id": key(name), "name": name, "type": slug, "service": service, **more}
                        for name, (slug, service, more) in INTEGRATIONS.items()
                    ],
                }
            )
        )
        stack.bash(f"stormweir apply -f {file}")
        yield stack
        server.shutdown()


@pytest.fixture(scope="module")
def done(trials: Stack) -> Done:
    """Every run of RUNS, some at the same time."""
    settings = trials.settings
    asyncio.run(migrate(settings.clickhouse_url, settings.clickhouse_token, "unwritten"))

    def run(case: Run) -> subprocess.CompletedProcess[str]:
        return stormweir("integrations", "test", *case.arguments, environ={**trials.environ, **case.environ}, cwd=ROOT)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(RUNS, pool.map(run, RUNS.values()), strict=True))


def test_a_marked_alert_goes_all_the_way_and_is_cleaned_up(trials: Stack, done: Done) -> None:
    """Contract C118: signed, opened, told, resolved; its rows say that they are a test."""
    assert done["told"].returncode == 0, done["told"].stdout + done["told"].stderr
    told = json.loads(done["told"].stdout)
    assert (told["ok"], told["outcome"], told["rules"]) == (True, "opened", ["trial-told"])
    assert (told["incident_status"], told["dead_letters"], told["problems"]) == ("resolved", [], [])
    assert {(row["destination"], row["outcome"]) for row in told["deliveries"]} == {("pager", "delivered")}
    assert key("trial-grafana") not in done["told"].stdout
    rows = trials.rows(
        f"SELECT toString(action) AS action, summary FROM alerts WHERE dedup_key = '{told['dedup_key']}' "
        "ORDER BY alerts.action"
    )
    assert [row["action"] for row in rows] == ["trigger", "resolve"]
    assert "stormweir-test-" in str(rows[0]["summary"])


def test_what_the_rules_make_of_it_is_told(done: Done) -> None:
    """A suppressed alert is what the rules wanted; a destination that cannot be reached is a failure."""
    assert done["silent"].returncode == 0, done["silent"].stderr
    assert "suppressed, severity" in done["silent"].stdout
    assert done["lost"].returncode == 1
    assert "pager: delivered" in done["lost"].stdout
    assert "failed: nobody: " in done["lost"].stderr
    assert done["lost"].stdout.splitlines()[-1] == "resolved"


@pytest.mark.parametrize("name", [name for name, run in RUNS.items() if run.words])
def test_where_it_stops_is_told(done: Done, name: str) -> None:
    """Refused with the reason, nobody at an address, nothing in ClickHouse, or no test to be made."""
    case, found = RUNS[name], done[name]
    assert found.returncode == case.status, f"{found.stdout}{found.stderr}"
    assert case.words in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.usefixtures("done")
def test_nothing_stays_open(trials: Stack) -> None:
    """Also where a test did not see its alert it has resolved it; but a resolve over the limit is not taken."""
    query = "SELECT service FROM incidents FINAL WHERE service LIKE 'trial-%' AND status != 'resolved'"
    eventually(lambda: trials.rows(query), [{"service": "trial-limited"}])
