"""A record's settings as people may see them."""

from typing import Any
from urllib.parse import urlsplit

from schemas.control import AnyRecord, secrets_of

MASK = "***"


def masked_values(record: AnyRecord) -> dict[str, Any]:
    """The record's JSON values by field. A secret is `***`, of a URL the host is shown too; no secret stays empty."""
    values: dict[str, Any] = record.model_dump(mode="json")
    for name, mark in secrets_of(type(record)).items():
        value = values[name]
        if not value:
            continue
        if mark.url:
            parts = urlsplit(value)
            values[name] = f"{parts.scheme}://{parts.hostname}/{MASK}"
        else:
            values[name] = MASK
    return values
