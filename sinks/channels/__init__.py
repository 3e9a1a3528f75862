"""The channels. Each module in this folder is one channel and is found without registration."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from sinks.contract import Channel


def _discover() -> Mapping[str, Channel[Any]]:
    found: dict[str, Channel[Any]] = {}
    for module in iter_modules(__path__):
        if not module.name.startswith("_"):
            channel: Channel[Any] = import_module(f"{__name__}.{module.name}").CHANNEL
            assert channel.slug == module.name, f"{module.name}.py declares the slug {channel.slug!r}"
            found[channel.slug] = channel
    return found


#: Every channel by its slug.
CHANNELS = _discover()
