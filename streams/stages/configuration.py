"""The configuration as stages see it; streams.control.state keeps it up to date."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

from schemas.control import AnyRecord, Rule, Service, Tenant

R = TypeVar("R", bound=AnyRecord)


class Configuration(Protocol):
    """`version` changes with every change. Services and rules are by tenant and id."""

    @property
    def version(self) -> int: ...

    @property
    def tenants(self) -> Mapping[str, Tenant]: ...

    @property
    def services(self) -> Mapping[tuple[str, str], Service]: ...

    @property
    def rules(self) -> Mapping[tuple[str, str], Rule]: ...

    def service(self, tenant: str, service_id: str, /) -> Service:
        """The service, or its defaults if it is not declared."""

    def every(self, model: type[R], /) -> Mapping[tuple[str, str], R]:
        """The records of a kind that has no mapping of its own here, by tenant and id."""


class Nothing:
    """A configuration without a record."""

    version = 0
    tenants: Mapping[str, Tenant] = {}
    services: Mapping[tuple[str, str], Service] = {}
    rules: Mapping[tuple[str, str], Rule] = {}

    def service(self, tenant: str, service_id: str, /) -> Service:
        """Its defaults."""
        return Service(id=service_id, tenant=tenant)

    def every(self, model: type[R], /) -> Mapping[tuple[str, str], R]:
        """None."""
        return {}
