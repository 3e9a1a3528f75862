"""Fakes of vendors that cannot be reached from a test: each refuses what the vendor refuses, and keeps the truth.

A module of this folder is one vendor and is found without registration. Its `application()` is an aiohttp application
whose `GET /_seen` tells what was received, what was accepted, and what a human would see. The rules are those of the
vendor's documentation and models; nothing here knows how Stormweir makes its messages.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from aiohttp import web


class Fake(NamedTuple):
    """A vendor: what it is, and a new application of it."""

    about: str
    application: Callable[[], web.Application]


def fakes() -> Mapping[str, Fake]:
    """Every fake by the name of its module."""
    found: dict[str, Fake] = {}
    for module in iter_modules(__path__):
        if not module.name.startswith("_"):
            loaded = import_module(f"{__name__}.{module.name}")
            found[module.name] = Fake((loaded.__doc__ or "").partition("\n")[0], loaded.application)
    return found
