"""The test request of every provider's page, run as it stands there, ends as what the page says."""

from collections.abc import Mapping, Sequence

import pytest

from schemas.wire.alert import Action
from streams.providers import PROVIDERS
from tests.docs.page import blocks, read, section
from tests.senders.conftest import Stack, eventually, key

pytestmark = pytest.mark.stack

PAGE_URL = "https://alerts.example.com"


def test_every_pages_request_arrives(stack: Stack) -> None:
    """With one's own address and key put in, curl succeeds, and its alerts are in ClickHouse with their incidents.

    The request of CloudWatch's page goes to AWS.
    """
    alerts, opened = [], []
    for slug, provider in PROVIDERS.items():
        [request] = blocks(section(read(f"docs/providers/{slug}.md"), "Try it"), "")
        if request.startswith("aws "):
            continue
        assert PAGE_URL in request
        stack.bash(request.replace(PAGE_URL, stack.url).replace("<key>", key(f"page-{slug}")))
        for action, dedup_key in provider.examples[0].alerts:
            alerts.append({"provider": slug, "dedup_key": dedup_key, "action": action.name.lower()})
            if action is Action.TRIGGER:
                opened.append({"service": f"page-{slug}", "dedup_key": dedup_key, "status": "open"})
    assert len(opened) > 20
    for columns, table, rows in (
        ("provider, dedup_key, toString(action) AS action", "alerts", alerts),
        ("service, dedup_key, status", "incidents FINAL", opened),
    ):
        query = f"SELECT {columns} FROM {table} WHERE service LIKE 'page-%'"
        eventually(lambda query=query: _sorted(stack.rows(query)), _sorted(rows))  # type: ignore[misc]


def _sorted(rows: Sequence[Mapping[str, object]]) -> list[list[object]]:
    return sorted(list(map(str, row.values())) for row in rows)
