"""The followed configuration in memory. A record that does not validate never replaces a valid one."""

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from schemas.control import (
    KINDS,
    AnyRecord,
    ApiKey,
    Destination,
    Integration,
    Rule,
    Service,
    Tenant,
    Token,
    describe,
)
from streams.control.kinds import model_of, validate
from streams.control.secrets import NO_KEYS, PLAIN, SealError, SecretKeys, seals_of

#: Services that are not declared are remembered with their defaults, up to this many.
MAX_DEFAULTS = 10_000


R = TypeVar("R", bound=AnyRecord)


class Control:
    """The followed state. `apply` returns an error text instead of raising; `version` counts changes.

    `records` are those of the topic. `environment` are records by control key that hold where the topic has none.
    `seals` has, for each record with secrets, the ids of the keys that seal them on the topic; also for a record that
    was refused because such a key is missing.
    """

    def __init__(self, keys: SecretKeys = NO_KEYS, *, environment: Mapping[str, AnyRecord] | None = None) -> None:
        self.keys = keys
        self._openable = frozenset((PLAIN, *keys.ids))
        self.seals: dict[str, frozenset[str]] = {}
        self.tenants: dict[str, Tenant] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.integrations: dict[str, Integration] = {}
        self.destinations: dict[tuple[str, str], Destination] = {}
        self.rules: dict[tuple[str, str], Rule] = {}
        self.apikeys: dict[str, ApiKey] = {}
        self.tokens: dict[str, Token] = {}
        self._kinds: dict[type[AnyRecord], dict[Any, Any]] = {}
        self.records: dict[str, AnyRecord] = {}
        self.version = 0
        self.environment = dict(environment or {})
        self._defaults: dict[tuple[str, str], Service] = {}
        for record in self.environment.values():
            self._index(record)

    def apply(self, key: str, value: bytes | None) -> str | None:
        """Apply one record of the topic; a None value deletes. Returns why the record was refused, or None."""
        kind = key.partition("/")[0]
        if kind not in KINDS:
            return f"unknown kind {kind!r}"
        record: AnyRecord | None = None
        seals: frozenset[str] = frozenset()
        if value is not None:
            try:
                fields = orjson.loads(value)
                if isinstance(fields, dict):
                    model = model_of(kind, fields)
                    seals = seals_of(model, fields)
                    fields = self.keys.open(model, fields)
                record = validate(kind, fields)
            except SealError as error:
                if not seals <= self._openable:
                    self.seals[key] = seals
                return str(error)
            except ValidationError as error:
                return describe(error)
            except orjson.JSONDecodeError as error:
                return f"is no JSON: {error.msg}"
        underlying = self.environment.get(key)
        old = self.records.pop(key, underlying)
        if old is not None:
            self._unindex(old)
        self.seals.pop(key, None)
        if record is not None:
            self.records[key] = record
            if seals:
                self.seals[key] = seals
        current = record or underlying
        if current is not None:
            self._index(current)
        self.version += 1
        return None

    def unopened(self) -> dict[str, frozenset[str]]:
        """The keys of records that cannot be read as they are on the topic, with the ids of the missing keys."""
        known = self._openable
        return {key: seals - known for key, seals in self.seals.items() if not seals <= known}

    def service(self, tenant: str, service_id: str) -> Service:
        """The service, or its defaults if it is not declared."""
        place = tenant, service_id
        found = self.services.get(place) or self._defaults.get(place)
        if found is None:
            if len(self._defaults) >= MAX_DEFAULTS:
                # Producers choose names of services freely; a flood of names must not fill the memory.
                self._defaults.clear()
            found = self._defaults[place] = Service.model_construct(id=service_id, tenant=tenant)
        return found

    def destination(self, tenant: str, destination_id: str) -> Destination | None:
        """The destination, None if there is none."""
        return self.destinations.get((tenant, destination_id))

    def every(self, model: type[R]) -> Mapping[tuple[str, str], R]:
        """The records of a kind, by tenant and id."""
        return self._kinds.get(model, {})

    def _place(self, record: AnyRecord) -> tuple[dict[Any, Any], Any]:
        """The index of the record's kind, and its key there."""
        match record:
            case Tenant():
                return self.tenants, record.id
            case Service():
                return self.services, (record.tenant, record.id)
            case Integration():
                return self.integrations, record.id
            case Destination():
                return self.destinations, (record.tenant, record.id)
            case Rule():
                return self.rules, (record.tenant, record.id)
            case ApiKey():
                return self.apikeys, record.sha256
            case Token():
                return self.tokens, record.sha256
        return self._kinds.setdefault(type(record), {}), (record.owner, record.id)

    def _index(self, record: AnyRecord) -> None:
        index, key = self._place(record)
        index[key] = record

    def _unindex(self, record: AnyRecord) -> None:
        index, key = self._place(record)
        index.pop(key, None)
