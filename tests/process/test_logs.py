"""Log lines, as another process sees them on stderr."""

import json
import subprocess
import sys
from typing import Any

import pytest

SETUP = """
import logging, warnings, structlog
from streams.process.logs import configure_logging
configure_logging("worker", "info")
log = structlog.get_logger("streams.test")
"""


def _lines(code: str, status: int = 0) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", SETUP + code], capture_output=True, text=True, timeout=30)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_structlog_and_stdlib_give_the_same_shape() -> None:
    """Both libraries' lines carry ts, level, event, process and logger; debug is below the level."""
    ours, theirs = _lines(
        "log.debug('no'); log.info('started', port=8410)\n"
        "logging.getLogger('aiokafka').debug('no'); logging.getLogger('aiokafka').warning('lost %s', 'node')"
    )
    assert ours.pop("ts").endswith("Z")
    assert ours == {
        "level": "info", "event": "started", "process": "worker", "logger": "streams.test", "port": 8410,
    }  # fmt: skip
    assert theirs.pop("ts").endswith("Z")
    assert theirs == {"level": "warning", "event": "lost node", "process": "worker", "logger": "aiokafka"}


def test_one_line_per_event_whatever_is_inside() -> None:
    """Line breaks and bytes of an attacker stay inside one JSON string."""
    (line,) = _lines(r"""log.info('got', summary='x\n{"level":"info"}', raw=b'\xff\n')""")
    assert line["summary"] == 'x\n{"level":"info"}'
    assert line["raw"] == r"b'\xff\n'"


@pytest.mark.parametrize(
    "name", ["body", "request_body", "secret", "signature_secret", "token", "password", "authorization",
             "headers", "routing_key", "api_keys", "secret_keys", "Cookie"],
)  # fmt: skip
def test_secrets_and_bodies_are_hidden(name: str) -> None:
    """A field named like a secret or a body never shows its value, from structlog or as bound context."""
    lines = _lines(
        f"log.info('a', **{{{name!r}: 'hunter2'}})\n"
        f"structlog.contextvars.bind_contextvars(**{{{name!r}: 'hunter2'}}); log.info('b')"
    )
    assert [line[name] for line in lines] == ["***", "***"]


def test_errors_are_lines_too() -> None:
    """Tracebacks are text in one line without local values; warnings and uncaught errors are logged."""
    lines = _lines(
        "def fail(password): raise ValueError('boom')\n"
        "try: fail('hunter2')\n"
        "except ValueError: log.exception('handled')\n"
        "warnings.warn('old call')\n"
        "fail('hunter2')",
        status=1,
    )
    handled, warned, uncaught = lines
    assert "ValueError: boom" in handled["exception"]
    assert "old call" in warned["event"]
    assert (uncaught["level"], uncaught["event"]) == ("critical", "uncaught error")
    assert not any("hunter2" in line.get("exception", "") for line in lines)
