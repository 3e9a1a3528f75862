"""Which model validates a control record: that of its kind, and for a destination that of its channel."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from schemas.control import KINDS, AnyRecord, Destination, Record
from sinks.channels import CHANNELS


def validate(kind: str, value: Mapping[str, Any]) -> AnyRecord:
    """The record. Raises ValidationError, and KeyError for an unknown kind."""
    record = model_of(kind, value).model_validate(value)
    assert isinstance(record, AnyRecord)
    return record


def model_of(kind: str, value: Mapping[str, Any]) -> type[Record]:
    """The model that validates this record. Raises ValidationError for an unknown channel, KeyError for a kind."""
    model = KINDS[kind]
    return _channel(value) if model is Destination else model


def _channel(value: Mapping[str, Any]) -> type[Destination]:
    """The settings of the channel that `type` names; without it that of webhooks."""
    slug = value.get("type", "webhook") if isinstance(value, Mapping) else "webhook"
    channel = CHANNELS.get(slug) if isinstance(slug, str) else None
    if channel is None:
        error = PydanticCustomError("unknown_channel", "is none of {known}", {"known": ", ".join(CHANNELS)})
        raise ValidationError.from_exception_data(
            "Destination", [InitErrorDetails(type=error, loc=("type",), input=None)], hide_input=True
        )
    return channel.settings
