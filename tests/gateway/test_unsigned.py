"""C116: the gateway says at its start which integrations take requests from anybody who has their URL."""

import json

import pytest

from schemas.control import Integration, control_key, dump
from streams.control.state import Control
from streams.gateway.auth import unsigned
from tests.gateway.conftest import EVENTS_KEY, WEBHOOK_KEY, RunningGateway


def test_which_integrations_are_unsigned() -> None:
    """Those without a secret; not the disabled, those that cannot sign or need none, or where it is switched off."""
    control = Control()
    kinds: dict[str, dict[str, object]] = {
        "b open": {},
        "a open": {"type": "prometheus"},
        "required": {"signature": "required"},
        "signed": {"signature_secret": "a secret"},
        "decided": {"signature": "off"},
        "disabled": {"enabled": False},
        "sns": {"type": "cloudwatch"},
        "cannot": {"type": "datadog"},
        "of a type of another version": {"type": "unknown"},
    }
    for number, (name, fields) in enumerate(kinds.items()):
        fields = {"id": f"{number:032x}", "name": name, "type": "webhook", "service": "s", **fields}
        record = Integration.model_validate(fields)
        assert control.apply(control_key(record), dump(record)) is None
    assert unsigned(control) == ["a open", "b open", "of a type of another version", "required"]


@pytest.mark.broker
def test_the_gateway_warns_at_its_start(gateway: RunningGateway) -> None:
    """One line with their number and names, and with no key."""
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    [warning] = [line for line in lines if line["event"] == "integrations without a signature secret"]
    assert warning["level"] == "warning"
    assert warning["count"] >= 3
    assert {"alertmanager", "events", "webhook"} <= set(warning["first"])
    assert not {EVENTS_KEY, WEBHOOK_KEY} & set(json.dumps(warning).split('"'))
