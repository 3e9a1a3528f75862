"""One file per sender of alerts, each declaring everything about it; this module lists the folder.

The gateway calls `provider.decode` to accept or refuse a body; the normalize stage calls `provider.drafts(raw,
mapping)` with what the gateway accepted, which raises BadBody and nothing else.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from streams.providers._contract import PATH, QUERY, BadBody, Change, Context, Draft, Example, NoAlert, Provider
from streams.providers._forms import is_form

__all__ = [
    "PATH",
    "PROVIDERS",
    "QUERY",
    "BadBody",
    "Change",
    "Context",
    "Draft",
    "Example",
    "NoAlert",
    "Provider",
    "find",
    "is_form",
]


def _discover() -> dict[str, Provider[Any]]:
    names = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    providers = (import_module(f"{__name__}.{name}").PROVIDER for name in names)
    return {provider.slug: provider for provider in providers}


#: Every provider by its slug, in the order of their file names.
PROVIDERS: Mapping[str, Provider[Any]] = _discover()


def find(slug: str) -> Provider[Any] | None:
    """The provider of this slug, or None."""
    return PROVIDERS.get(slug)
