"""What people are shown of a record: everything but its secrets. Every command, difference and page uses this."""

from typing import Any
from urllib.parse import urlsplit

from schemas.control import AnyRecord, Integration, SecretMark, masked_key, secrets_of

SECRET = "***"  # noqa: S105 - what is shown instead of one


def masked_values(record: AnyRecord) -> dict[str, Any]:
    """The record's JSON values by field. A secret is `***`, of a URL the host is shown too; no secret is None or empty.

    An integration's id is its credential, so only its start is shown.
    """
    secrets = secrets_of(type(record))
    shown = {name: _masked(value, secrets.get(name)) for name, value in record.model_dump(mode="json").items()}
    return shown | {"id": masked_key(record.id)} if isinstance(record, Integration) else shown


def shown_secrets(record: AnyRecord) -> list[str]:
    """The fields that hold what is shown in place of a secret, as of a file that was copied from a page."""
    shown = masked_values(record)
    real = record.model_dump(mode="json")
    return [name for name in secrets_of(type(record)) if real[name] and real[name] == shown[name]]


def _masked(value: Any, secret: SecretMark | None) -> Any:
    if secret is None or not value:
        return value
    if not secret.url:
        return SECRET
    parts = urlsplit(value)
    return f"{parts.scheme}://{parts.hostname}/{SECRET}"
