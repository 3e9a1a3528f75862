"""docs/webhooks.md tells the truth."""

import re
import time
from pathlib import Path

import pytest

from sinks.channels.webhook import classify, render
from sinks.outbound import Answer, ErrorCode
from tests.sinks.samples import BASE_URL, destination, notification

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "webhooks.md").read_text()


@pytest.mark.parametrize("secret", ["a plain secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_the_sample_verifier_verifies(secret: str) -> None:
    """The Python sample accepts what we send and refuses a changed body."""
    [sample] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(sample, names)  # the page's own code
    request = render(
        notification(), destination("https://example.com", secret=secret), BASE_URL, int(time.time() * 1000)
    )
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
    reasons = {classify(Answer(status)).reason for status in range(200, 600)} | set(ErrorCode)
    assert not [reason for reason in reasons if reason and f"`{reason}`" not in TEXT]
