"""From a sender through every process to a mailbox: the notifier mails what an alert opens and resolves."""

import asyncio
import json
import urllib.error
import urllib.request
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

import pytest
import yaml

from tests.senders.conftest import Stack, key
from tests.sinks.post_office import post_office
from tests.sinks.samples import until

pytestmark = pytest.mark.stack
SERVICE = "mailed"


def post(stack: Stack, action: str, number: int) -> bool:
    """An event of PagerDuty's Events API; whether the gateway knows the integration yet."""
    event = {
        "routing_key": key(SERVICE),
        "event_action": action,
        "dedup_key": f"db-{number}/disk",
        "payload": {"summary": "Disk full\r\nBcc: eve@evil.example", "source": "db-1", "severity": "critical"},
    }
    request = urllib.request.Request(f"{stack.url}/v2/enqueue", json.dumps(event).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 202)
    except urllib.error.HTTPError as error:
        with error:
            return False


async def test_an_alert_is_a_thread_of_mails(stack: Stack, tmp_path: Path) -> None:
    """The opening and the resolve are two mails in one thread, and the subjects say which is which.

    Alerts are sent until one is mailed: no process says when it has followed the configuration.
    """
    async with post_office() as office:
        configuration = {
            "services": [{"id": SERVICE}],
            "integrations": [{"id": key(SERVICE), "name": SERVICE, "type": "events_v2", "service": SERVICE}],
            "destinations": [
                {
                    "id": "mailbox",
                    "type": "email",
                    "host": "127.0.0.1",
                    "port": office.port,
                    "security": "none",
                    "sender": "Stormweir <alerts@example.com>",
                    "recipients": ["ada@example.com"],
                }
            ],
            "rules": [{"id": "mail-it", "match": [f'service="{SERVICE}"'], "route": ["mailbox"]}],
        }
        file = tmp_path / "mail.yaml"
        file.write_text(yaml.safe_dump(configuration))
        await asyncio.to_thread(stack.bash, f"stormweir apply -f {file}")
        sent = 0
        async with asyncio.timeout(40):
            while not office.taken:
                sent += await asyncio.to_thread(post, stack, "trigger", sent)
                with suppress(TimeoutError):
                    await until(lambda: office.taken, 0.5)
        opened = office.taken[0].mail
        for number in range(sent):
            assert await asyncio.to_thread(post, stack, "resolve", number)

        def ends() -> list[EmailMessage]:
            """The mails after the first one in its thread."""
            return [each.mail for each in office.taken[1:] if each.mail["References"] == opened["References"]]

        await until(ends, 40)
        (resolved,) = ends()
        assert opened["Subject"] == "\U0001f6a8 Disk full Bcc: eve@evil.example"
        assert resolved["Subject"] == "\u2705 Resolved: Disk full Bcc: eve@evil.example"
        assert opened["Message-ID"] != resolved["Message-ID"]
        assert {tuple(taken.recipients) for taken in office.taken} == {("ada@example.com",)}
