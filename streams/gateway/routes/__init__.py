"""Which requests there are: every route derives from a provider's declaration.

`/api/integrations/{slug}` and `/v1/webhooks/{tenant}/{slug}` for each provider, and the addresses that
vendors' clients know: `/v2/enqueue`, `/api/events`, `/v2/change/enqueue` (PagerDuty), `/v2/alerts` (Opsgenie).
"""

import re

from streams.gateway.auth import Directory
from streams.gateway.routes.events import Enqueue, Events
from streams.gateway.routes.opsgenie import OpsgenieAlerts
from streams.gateway.routes.route import Request, Route
from streams.gateway.routes.webhooks import TENANTS, IntegrationWebhook, TenantWebhook
from streams.providers import PROVIDERS

__all__ = ["Request", "Route", "Routes"]

_ALERTS = "/v2/alerts"
#: What is done to an alert, whose identifier may have slashes.
_ABOUT_ALERT = re.compile(f"{_ALERTS}/.+/[a-z]+/?", re.DOTALL)


class Routes:
    """Finds the route of a path. `fixed` has those without a variable part."""

    def __init__(self, directory: Directory) -> None:
        self.fixed: dict[str, Route] = {
            "/v2/enqueue": Enqueue(PROVIDERS["events_v2"], directory),
            "/api/events": Events(PROVIDERS["events_v2"], directory),
            "/v2/change/enqueue": Enqueue(PROVIDERS["change_events"], directory),
            _ALERTS: OpsgenieAlerts(PROVIDERS["opsgenie"], directory),
        }
        self._tenants: dict[str, Route] = {}
        for slug, provider in PROVIDERS.items():
            self.fixed[f"/api/integrations/{slug}"] = IntegrationWebhook(provider, directory)
            self._tenants[slug] = TenantWebhook(provider, directory)
            self._tenants[slug].address = f"{TENANTS}{{tenant}}/{slug}"
        for path, route in self.fixed.items():
            route.address = path

    def find(self, path: str) -> Route | None:
        """The route of a percent-decoded path, None for none."""
        found = self.fixed.get(path)
        if found is not None:
            return found
        if path.startswith(TENANTS):
            tenant, _, slug = path[len(TENANTS) :].partition("/")
            return self._tenants.get(slug) if tenant else None
        return self.fixed[_ALERTS] if _ABOUT_ALERT.fullmatch(path) else None
