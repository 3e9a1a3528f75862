"""Destinations that environment variables make, so that a sender starts without a file.

A channel names its variables (`Channel.environment`), such as SMTP_HOST. When those that it requires are set, there is
a destination of the channel with the channel's slug as its id. A record of that id on the topic `control` takes its
place.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from schemas.control import AnyRecord, control_key
from schemas.settings import SettingsError
from sinks.channels import CHANNELS
from sinks.contract import Channel


def destinations(
    environ: Mapping[str, str], channels: Iterable[Channel[Any]] = tuple(CHANNELS.values())
) -> dict[str, AnyRecord]:
    """The destinations by control key. Raises SettingsError that names the variable of a wrong value."""
    found: dict[str, AnyRecord] = {}
    for channel in channels:
        if channel.required and all(environ.get(variable) for variable in channel.required):
            record = _destination(channel, environ)
            found[control_key(record)] = record
    return found


def _destination(channel: Channel[Any], environ: Mapping[str, str]) -> AnyRecord:
    values = {field: environ[variable] for variable, field in channel.environment.items() if environ.get(variable)}
    variables = {field: variable for variable, field in channel.environment.items()}
    try:
        record = channel.settings.model_validate({"id": channel.slug, "type": channel.slug, **values})
    except ValidationError as error:
        problems = []
        for issue in error.errors():
            field = str(issue["loc"][0]) if issue["loc"] else channel.slug
            problems.append(f"{variables.get(field, field)}: {issue['msg']}")
        raise SettingsError("; ".join(problems)) from None
    assert isinstance(record, AnyRecord)
    return record
