"""What validates a control record: the model of its kind, for a destination that of its channel, and for a rule the
language of conditions, so that a rule which cannot be compiled never replaces a valid one.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from schemas.control import KINDS, AnyRecord, Destination, Rule
from sinks.channels import CHANNELS
from streams.policy import language


def validate(kind: str, value: Mapping[str, Any]) -> AnyRecord:
    """The record. Raises ValidationError, and KeyError for an unknown kind."""
    record = model_of(kind, value).model_validate(value)
    if isinstance(record, Rule):
        _check_conditions(record)
    return record


def model_of(kind: str, value: Mapping[str, Any]) -> type[AnyRecord]:
    """The model that validates this record. Raises ValidationError for an unknown channel, KeyError for a kind."""
    model = KINDS[kind]
    return _channel(value) if model is Destination else model


def _check_conditions(rule: Rule) -> None:
    problems = []
    for path, line in zip(rule.condition_paths, rule.conditions, strict=True):
        try:
            language.check([line])
        except ValueError as error:
            problem = PydanticCustomError("condition", "{reason}", {"reason": str(error)})
            problems.append(InitErrorDetails(type=problem, loc=tuple(path.split(".")), input=None))
    if problems:
        raise ValidationError.from_exception_data("Rule", problems, hide_input=True)


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
