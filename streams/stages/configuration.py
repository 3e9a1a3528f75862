"""The configuration as stages see it; streams.control.state keeps it up to date."""

from collections.abc import Mapping
from typing import Protocol

from schemas.control import Rule, Service, Tenant


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
