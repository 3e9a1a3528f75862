"""examples/severity-routes.yaml on a whole stack: who is told, who is not, and what is stored."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.conftest import Reader
from tests.docs.page import read

pytestmark = pytest.mark.stack

KEYS = {"routed": "a1" * 16, "quiet": "a2" * 16}


class _Target(BaseHTTPRequestHandler):
    """Takes every notification and counts them by path."""

    heard: Counter[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.heard[self.path] += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def target() -> Iterator[ThreadingHTTPServer]:
    """A server for every destination; the path is the destination's id."""
    handler = type("Target", (_Target,), {"heard": Counter()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _configuration(url: str) -> dict[str, Any]:
    """The example, for a tenant of its own, with a service that is in peace the whole day."""
    example: dict[str, Any] = yaml.safe_load(read("examples/severity-routes.yaml"))
    example["tenants"][0]["id"] = "routes"
    for destination in example["destinations"]:
        destination |= {"tenant": "routes", "url": f"{url}/{destination['id']}"}
    example["services"] = [
        {"id": "routed", "tenant": "routes"},
        {"id": "quiet", "tenant": "routes", "quiet_hours": [{"zone": "Europe/Berlin", "hours": "00:00-24:00"}]},
    ]
    example["integrations"] = [
        {"id": key, "tenant": "routes", "name": service, "type": "events_v2", "service": service}
        for service, key in KEYS.items()
    ]
    return example


def test_the_seeds_routes_and_quiet_hours(reader: Reader, target: ThreadingHTTPServer, tmp_path: Path) -> None:
    """Contract A12, A20 and C123: critical goes to three, warning to one, info to none; a quiet service's to none.

    All are incidents in ClickHouse, and who was not told is in `deliveries` with the reason.
    """
    file = tmp_path / "routes.yaml"
    file.write_text(yaml.safe_dump(_configuration(f"http://127.0.0.1:{target.server_port}")))
    reader.bash(f"stormweir apply -f '{file}'")
    for service, severity in (("routed", "critical"), ("routed", "warning"), ("routed", "info"), ("quiet", "warning")):
        body = (
            f'{{"routing_key": "{KEYS[service]}", "event_action": "trigger", "dedup_key": "{severity}",'
            f' "payload": {{"summary": "{severity}", "source": "host", "severity": "{severity}"}}}}'
        )
        reader.bash(
            "curl --silent --show-error --fail --retry 20 --retry-all-errors --retry-delay 1 --data-binary"
            f" '{body}' http://127.0.0.1:{reader.settings.port('gateway')}/v2/enqueue"
        )
    of_tenant = "WHERE tenant = 'routes'"
    reader.wait_for(f"SELECT count() FROM incidents FINAL {of_tenant}", "4")
    told = "concat(service, ' ', severity, ', ', destination, ': ', outcome, ' ', if(error = '', '-', error))"
    reader.wait_for(
        f"SELECT arrayStringConcat(arraySort(groupArray({told})), '; ') FROM deliveries FINAL"
        f" INNER JOIN (SELECT incident_id, service, severity FROM incidents FINAL) AS incident USING incident_id"
        f" {of_tenant}",
        "quiet warning, chat: suppressed quiet_hours; "
        "routed critical, chat: delivered -; routed critical, mail: delivered -; routed critical, pager: delivered -; "
        "routed info, : suppressed severity_not_notified; routed warning, chat: delivered -",
    )
    handler = target.RequestHandlerClass
    assert isinstance(handler, type)
    assert issubclass(handler, _Target)
    assert handler.heard == {"/chat": 2, "/mail": 1, "/pager": 1}
