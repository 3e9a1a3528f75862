"""The package `stormweir-client`: its files, generated from an OpenAPI document of the API."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streams.client.operations import STYLES, operations_of
from streams.client.schemas import BY_HAND, class_of, references

PACKAGE = "stormweir_client"
_TRANSPORT = Path(__file__).with_name("transport.py")
_ABOUT = "A typed client of Stormweir's management API."
_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "stormweir-client"
version = "{version}"
description = "{about}"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["httpx2>=2.16,<3", "msgspec>=0.22,<0.23"]
"""
_MODELS = '''\
"""What the API takes and answers. A field with UNSET is left out of a request unless it is given."""

# Annotations name classes that stand further down.
from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from .transport import {by_hand}
'''
_CLIENTS = '''\
"""The operations of the API as methods. Each raises ApiError for an answer other than success."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from . import models
from .transport import AsyncTransport, Call, Event, Transport, part, tag
'''


def sources(document: Mapping[str, Any]) -> dict[str, str]:
    """The files of the package by path. One document, one text of each. Raises ValueError for what has no type."""
    return {
        "pyproject.toml": _PYPROJECT.format(version=document["info"]["version"], about=_ABOUT),
        f"{PACKAGE}/__init__.py": _exports(),
        f"{PACKAGE}/clients.py": _clients(document),
        f"{PACKAGE}/models.py": _models(document),
        f"{PACKAGE}/py.typed": "",
        f"{PACKAGE}/transport.py": _TRANSPORT.read_text(),
    }


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Write the files into a folder, laid out as ruff does it."""
    for name, text in sources(document).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated", "--line-length", "120", str(folder)]
    subprocess.run(command, check=True)  # noqa: S603


def _models(document: Mapping[str, Any]) -> str:
    schemas = document["components"]["schemas"]
    each = [operation for methods in document["paths"].values() for operation in methods.values()]
    answered = references([operation["responses"] for operation in each], schemas)
    classes = [
        class_of(name, schema, only_sent=name not in answered)
        for name, schema in schemas.items()
        if name not in BY_HAND
    ]
    return "\n\n".join([_MODELS.format(by_hand=", ".join(BY_HAND)), *classes])


def _clients(document: Mapping[str, Any]) -> str:
    operations = operations_of(document)
    classes = [
        "\n".join(
            [
                f"class {style.name}({style.base}):",
                f'    """{style.about}"""',
                *(line for operation in operations for line in ("", *operation.lines(style))),
                "",
            ]
        )
        for style in STYLES
    ]
    return "\n\n".join([_CLIENTS, *classes])


def _exports() -> str:
    names = [
        "ApiError", "ConflictError", "Event", "ForbiddenError", "InvalidError", "NotFoundError", "Problem",
        "TooManyRequestsError", "UnauthorizedError", "UnavailableError", "Wrong",
    ]  # fmt: skip
    listed = sorted(["AsyncClient", "Client", "models", *names])
    return "\n".join(
        [
            f'"""{_ABOUT}"""',
            "",
            "from . import models",
            "from .clients import AsyncClient, Client",
            f"from .transport import {', '.join(names)}",
            "",
            f"__all__ = {listed!r}",
            "",
        ]
    )
