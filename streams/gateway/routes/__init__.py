"""Which requests there are: every route derives from a provider's declaration.

`/api/integrations/{slug}` and `/v1/webhooks/{tenant}/{slug}` for each provider, and the addresses that
vendors' clients know: `/v2/enqueue`, `/api/events`, `/v2/change/enqueue` (PagerDuty), `/v2/alerts` (Opsgenie),
`/api/v2/alerts` (Alertmanager).
"""

import re

from streams.gateway.auth import Directory
from streams.gateway.routes.alertmanager import ALERTS_API, AlertmanagerAlerts, is_alerts_api
from streams.gateway.routes.events import Enqueue, Events
from streams.gateway.routes.opsgenie import OpsgenieAlerts
from streams.gateway.routes.route import Request, Route
from streams.gateway.routes.webhooks import TENANTS, IntegrationWebhook, TenantWebhook
from streams.providers import PROVIDERS

__all__ = ["Request", "Route", "Routes"]

_ALERTS = "/v2/alerts"
#: An alert, whose identifier may have slashes, and what is done to it.
_ABOUT_ALERT = re.compile(f"{_ALERTS}/.+", re.DOTALL)


class Routes:
    """Finds the route of a path. `fixed` has those without a variable part."""

    def __init__(self, directory: Directory) -> None:
        self.fixed: dict[str, Route] = {
            "/v2/enqueue": Enqueue(PROVIDERS["events_v2"], directory),
            "/api/events": Events(PROVIDERS["events_v2"], directory),
            "/v2/change/enqueue": Enqueue(PROVIDERS["change_events"], directory),
            _ALERTS: OpsgenieAlerts(PROVIDERS["opsgenie"], directory),
            ALERTS_API: AlertmanagerAlerts(PROVIDERS["prometheus"], directory),
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
        if is_alerts_api(path):
            return self.fixed[ALERTS_API]
        return self.fixed[_ALERTS] if _ABOUT_ALERT.fullmatch(path) else None
