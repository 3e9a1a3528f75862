"""One real stack for every sender: `stormweir up`, configured by `stormweir apply`."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from hashlib import md5
from typing import TypeVar

import pytest
import yaml

from streams.providers import PROVIDERS
from tests.conftest import FreePorts, free_base
from tests.docs.conftest import Reader, following

#: Senders by the service their alerts are of, and the type of their integration.
SENDERS = {
    "prometheus-alone": "prometheus",
    "alertmanager-webhook": "prometheus",
    "alertmanager-pagerduty": "events_v2",
    "alertmanager-opsgenie": "opsgenie",
    "pagerduty-client": "events_v2",
    "cloudevents-sdk": "cloudevents",
    "kuma-multipart": "uptimekuma",
    **{f"page-{slug}": slug for slug in PROVIDERS},
}
_TOLD_S = 40.0

T = TypeVar("T")


def key(service: str) -> str:
    """The key of a sender's integration."""
    return md5(service.encode(), usedforsecurity=False).hexdigest()


class Stack(Reader):
    """A reader's stack that knows every sender."""

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.settings.port('gateway')}"

    def webhook(self, service: str) -> str:
        """The URL of a sender's integration."""
        return f"{self.url}/api/integrations/{SENDERS[service]}?integrationId={key(service)}"

    def rows(self, query: str) -> list[dict[str, object]]:
        """The rows of a query."""
        return [json.loads(line) for line in self.sql(f"{query} FORMAT JSONEachRow").splitlines()]

    def incidents(self, service: str) -> dict[str, list[str]]:
        """The incidents of a service by dedup key: status, severity, title and source."""
        found = self.rows(
            f"SELECT dedup_key, status, severity, title, source FROM incidents FINAL WHERE service = '{service}'"
        )
        return {str(row.pop("dedup_key")): [str(value) for value in row.values()] for row in found}

    def wait_for_incidents(self, service: str, expected: dict[str, list[str]]) -> None:
        """Until the incidents of a service are these."""
        eventually(lambda: self.incidents(service), expected)


def eventually(found: Callable[[], T], expected: T) -> None:
    """Ask until the answer is this one."""
    deadline = time.monotonic() + _TOLD_S
    while (answer := found()) != expected:
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, free_ports: FreePorts) -> Iterator[Stack]:
    """The stack, for all tests of the package, once its gateway has followed the configuration."""
    directory = tmp_path_factory.mktemp("senders")
    with following(Stack(directory, free_base(free_ports))) as stack:
        configuration = directory / "senders.yaml"
        configuration.write_text(
            yaml.safe_dump(
                {
                    "services": [{"id": service} for service in SENDERS],
                    "integrations": [
                        {
                            "id": key(service),
                            "name": service,
                            "type": slug,
                            "service": service,
                            "rate_limit": "unlimited",
                        }
                        for service, slug in SENDERS.items()
                    ],
                }
            )
        )
        stack.bash(f"stormweir apply -f {configuration}")
        # What is no alert is answered 401 while the key is unknown, and 400 from then on.
        eventually(lambda: _answer(stack.webhook(list(SENDERS)[-1])), 400)
        yield stack


def _answer(url: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, b"no alert"), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
