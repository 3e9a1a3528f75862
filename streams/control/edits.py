"""Changes to integrations, heartbeats and API keys: the records that a change would write, checked before that.

Pure: takes the current configuration and returns the records that change it. Keys and secrets are created here, with
`secrets`; an API key itself is returned once and never stored, only its SHA-256 is.
"""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from schemas.control import (
    DEFAULT_TENANT,
    AnyRecord,
    ApiKey,
    Heartbeat,
    Integration,
    Record,
    Service,
    Tenant,
    installation_of,
    masked_key,
)
from streams.control.state import Control
from streams.policy import language
from streams.policy.signature import SnsCertificate
from streams.process.errors import OperatorError
from streams.providers import PROVIDERS

KEY_BYTES = 16
SECRET_BYTES = 32
#: This many characters of a key identify an integration; lists show no more of it.
PREFIX = 6

R = TypeVar("R", bound=Record)


class FieldError(OperatorError):
    """A value that is not accepted. `field` is its path in the record."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class NewKey(NamedTuple):
    """A new API key: `key` is shown to its owner, `records` are stored."""

    key: str
    record: ApiKey
    records: list[AnyRecord]


def new_secret() -> str:
    """A secret for signing: 32 random bytes in hexadecimal."""
    return secrets.token_hex(SECRET_BYTES)


def requests_a_minute(text: str) -> int | str:
    """A rate limit as the user typed it: a number, or a word that the record validates."""
    return int(text) if text.isdecimal() and len(text) < 20 else text


def new_integration(
    control: Control, values: Mapping[str, Any], *, create_service: bool = False
) -> tuple[Integration, list[AnyRecord]]:
    """A new integration with its own key, and the records to write: the integration, and its service if that is new.

    `values` are fields of Integration without `id`. Raises FieldError.
    """
    integration = _checked(Integration, {"id": secrets.token_hex(KEY_BYTES), **values})
    _check_type(integration.type)
    check_tenant(control, integration.tenant)
    return integration, _with_service(control, integration, create=create_service)


def changed_integration(control: Control, integration: Integration, values: Mapping[str, Any]) -> Integration:
    """The integration with these fields replaced. Raises FieldError."""
    changed = _checked(Integration, {**integration.model_dump(), **values})
    _check_type(changed.type)
    if (changed.tenant, changed.service) not in control.services:
        raise _no_service(control, changed)
    return changed


def rotated_integration(integration: Integration) -> Integration:
    """The same integration with a new key and, where it signs with a shared secret, a new secret.

    The old integration is unchanged, so both keys are accepted until the old one is deleted. Both keep the same
    installation, so an alert is the same alert with either key.
    """
    installation = integration.installation or installation_of(integration.id)
    changes: dict[str, Any] = {"id": secrets.token_hex(KEY_BYTES), "installation": installation}
    provider = PROVIDERS.get(integration.type)
    shared = provider is None or not isinstance(provider.signature, SnsCertificate)
    if integration.signature_secret is not None and shared:
        changes["signature_secret"] = new_secret()
    return integration.model_copy(update=changes)


def find_integration(control: Control, text: str) -> Integration:
    """The integration with this key, with this beginning of its key (6 characters or more), or with this name.

    Raises FieldError when there is none, or more than one.
    """
    whole = control.integrations.get(text)
    if whole is not None:
        return whole
    found = [
        integration
        for integration in control.integrations.values()
        if integration.name == text or (len(text) >= PREFIX and integration.id.startswith(text))
    ]
    if not found:
        raise FieldError("integration", "there is none of this key or name; `stormweir integrations list` shows all")
    if len(found) > 1:
        keys = ", ".join(sorted(masked_key(integration.id) for integration in found))
        raise FieldError("integration", f"{len(found)} have this name, say the beginning of one's key: {keys}")
    return found[0]


def new_heartbeat(
    control: Control, values: Mapping[str, Any], *, create_service: bool = False
) -> tuple[Heartbeat, list[AnyRecord]]:
    """A new heartbeat, and the records to write: the heartbeat, and its service if that is new.

    `values` are fields of Heartbeat; without `match` it gets a key. Raises FieldError.
    """
    heartbeat = _checked(Heartbeat, values if values.get("match") else {**values, "key": secrets.token_hex(KEY_BYTES)})
    for index, line in enumerate(heartbeat.match):
        try:
            language.check([line])
        except ValueError as error:
            raise FieldError(f"match.{index}", str(error)) from None
    if (heartbeat.tenant, heartbeat.id) in control.every(Heartbeat):
        raise FieldError("id", "is taken; `stormweir heartbeats list` shows all")
    check_tenant(control, heartbeat.tenant)
    return heartbeat, _with_service(control, heartbeat, create=create_service)


def find_heartbeat(control: Control, tenant: str, name: str) -> Heartbeat:
    """The tenant's heartbeat of this id. Raises FieldError."""
    found = control.every(Heartbeat).get((tenant, name))
    if found is None:
        raise FieldError("id", "there is no such heartbeat; `stormweir heartbeats list` shows all")
    return found


def new_key(control: Control, values: Mapping[str, Any], *, create_tenant: bool = False) -> NewKey:
    """A new API key and the secret that signs its webhooks. Raises FieldError.

    `values` are fields of ApiKey without `prefix`, `sha256` and `webhook_secret`.
    """
    key = f"sw_{secrets.token_urlsafe(SECRET_BYTES)}"
    made = {"prefix": key[:8], "sha256": sha256(key.encode()).hexdigest(), "webhook_secret": new_secret()}
    record = _checked(ApiKey, {**values, **made})
    if f"apikey/{record.id}" in control.records:
        raise FieldError("id", "is taken: every key has a name of its own, so that one can be revoked")
    if not create_tenant:
        check_tenant(control, record.tenant)
        return NewKey(key, record, [record])
    if record.tenant in control.tenants:
        raise FieldError("tenant", "is there already")
    return NewKey(key, record, [_checked(Tenant, {"id": record.tenant}), record])


def find_key(control: Control, name: str) -> ApiKey:
    """The API key of this id. Raises FieldError."""
    found = control.records.get(f"apikey/{name}")
    if not isinstance(found, ApiKey):
        raise FieldError("id", "there is no such API key; `stormweir keys list` shows all")
    return found


def _checked(model: type[R], values: Mapping[str, Any]) -> R:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise FieldError(".".join(str(part) for part in first["loc"]) or "record", first["msg"]) from None


def _check_type(slug: str) -> None:
    if slug not in PROVIDERS:
        raise FieldError("type", f"{slug!r} is none of {', '.join(PROVIDERS)}")


def check_tenant(control: Control, tenant: str) -> None:
    """Raise FieldError for a tenant that nothing is known of."""
    known = {DEFAULT_TENANT, *control.tenants, *(tenant for tenant, _ in control.services)}
    if tenant not in known:
        raise FieldError("tenant", f"no tenant {tenant!r}; there is {', '.join(sorted(known))}")


def _with_service(control: Control, record: Integration | Heartbeat, *, create: bool) -> list[AnyRecord]:
    """The record, after its service if that is new. Raises FieldError if it is new and is not to be made."""
    if (record.tenant, record.service) in control.services:
        return [record]
    if not create:
        raise _no_service(control, record)
    return [_checked(Service, {"id": record.service, "tenant": record.tenant}), record]


def _no_service(control: Control, record: Integration | Heartbeat) -> FieldError:
    known = sorted(service for tenant, service in control.services if tenant == record.tenant)
    there = f"there is {', '.join(known)}" if known else "there is none yet"
    return FieldError("service", f"no service {record.service!r}; {there}; --create-service makes it")
