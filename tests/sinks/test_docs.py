"""docs/webhooks.md tells the truth."""

import re
import time
from pathlib import Path

import pytest

from sinks.channels.webhook import render
from sinks.contract import by_status
from sinks.outbound import Answer, ErrorCode
from tests.sinks.samples import destination, message

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "webhooks.md").read_text()


@pytest.mark.parametrize("secret", ["a plain secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_the_sample_verifier_verifies(secret: str) -> None:
    """The Python sample accepts what we send and refuses a changed body."""
    [sample] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(sample, names)  # the page's own code
    now = int(time.time() * 1000)
    [request] = render(message(now=now), destination("https://example.com", secret=secret), "")
    verify = names["verify"]
    assert callable(verify)
    assert verify(secret, request.headers, request.body) is True
    assert verify(secret, request.headers, request.body + b" ") is False


def test_the_bodies_are_the_golden_ones() -> None:
    """Each body on the page is the golden file of its template."""
    bodies = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    golden = [
        (ROOT / "tests/sinks/golden" / f"{name}.json").read_text()
        for name in ("stormweir-v1", "cortif-v1", "opsknight-v1")
    ]
    assert bodies == golden


def test_every_error_of_an_attempt_is_listed() -> None:
    """Whatever an attempt's error can be is named on the page."""
    reasons = {by_status(Answer(status)).reason for status in range(200, 600)} | set(ErrorCode)
    assert not [reason for reason in reasons if reason and f"`{reason}`" not in TEXT]
