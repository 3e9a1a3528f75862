"""The routes of the gateway; each derives from a provider's declaration.

`/api/integrations/{slug}` and `/v1/webhooks/{tenant}/{slug}` for each provider, and the addresses that vendors' clients
know: `/v2/enqueue`, `/api/events`, `/v2/change/enqueue` (PagerDuty), `/v2/alerts` (Opsgenie), `/api/v2/alerts`
(Alertmanager). `/v1/heartbeats/<key>` takes beats of monitors.
"""

import re

from streams.gateway.auth import Directory
from streams.gateway.routes.alertmanager import ALERTS_API, AlertmanagerAlerts, is_alerts_api
from streams.gateway.routes.events import Enqueue, Events
from streams.gateway.routes.heartbeats import HEARTBEATS, Beats
from streams.gateway.routes.opsgenie import OpsgenieAlerts, OpsgenieRequests
from streams.gateway.routes.route import Request, Route
from streams.gateway.routes.webhooks import TENANTS, IntegrationWebhook, TenantWebhook
from streams.providers import PROVIDERS

__all__ = ["CATALOGUE", "Request", "Route", "Routes", "trimmed"]

CATALOGUE = "/integrations/catalog"

_ALERTS = "/v2/alerts"
_REQUESTS = f"{_ALERTS}/requests"
#: An id contains something besides small letters; so it is not a verb.
_REQUEST = re.compile(f"{_REQUESTS}/[^/]*[^/a-z][^/]*/*", re.DOTALL)
#: An alert, whose identifier may contain slashes, and the action on it.
_ABOUT_ALERT = re.compile(f"{_ALERTS}/+[^/].*", re.DOTALL)
#: The beginnings of addresses with a variable part, and of pages.
_VARIABLE = (TENANTS.rstrip("/"), HEARTBEATS.rstrip("/"), _REQUESTS, CATALOGUE)
_SLASHES = re.compile("/{2,}")
#: How many segments of an unknown path are shown as placeholders.
_PLACES = 3
_PLACE = "{}"


class Routes:
    """Finds the route of a path. `fixed` has the routes without a variable part."""

    def __init__(self, directory: Directory) -> None:
        alerts = OpsgenieAlerts(PROVIDERS["opsgenie"], directory)
        self.fixed: dict[str, Route] = {
            "/v2/enqueue": Enqueue(PROVIDERS["events_v2"], directory),
            "/api/events": Events(PROVIDERS["events_v2"], directory),
            "/v2/change/enqueue": Enqueue(PROVIDERS["change_events"], directory),
            _ALERTS: alerts,
            ALERTS_API: AlertmanagerAlerts(PROVIDERS["prometheus"], directory),
        }
        self._requests = OpsgenieRequests(alerts, directory)
        self._requests.address = f"{_REQUESTS}/{{id}}"
        self._beats = Beats(directory)
        self._tenants: dict[str, Route] = {}
        for slug, provider in PROVIDERS.items():
            self.fixed[f"/api/integrations/{slug}"] = IntegrationWebhook(provider, directory)
            self._tenants[slug] = TenantWebhook(provider, directory)
            self._tenants[slug].address = f"{TENANTS}{{tenant}}/{slug}"
        for path, route in self.fixed.items():
            route.address = path
        #: Every beginning of an address, without the parts that a sender chooses.
        self._known = {
            tuple(segments[: length + 1])
            for segments in (path.split("/")[1:] for path in (*self.fixed, *_VARIABLE))
            for length in range(len(segments))
        }

    def find(self, path: str) -> Route | None:
        """The route of a percent-decoded path, None for none. Superfluous slashes do not change an address."""
        return self.fixed.get(path) or self._variable(path) or self._variable(trimmed(path))

    def shape(self, path: str) -> str:
        """The shape of an unknown path, without any text that its sender chose; "" if it begins like no address.

        The segments that it shares with an address are shown, the segments after them are placeholders.
        """
        segments = trimmed(path).split("/")[1:]
        known = next((n for n in range(len(segments)) if tuple(segments[: n + 1]) not in self._known), len(segments))
        if not known:
            return ""
        places = len(segments) - known
        more = "/..." if places > _PLACES else ""
        return "/" + "/".join([*segments[:known], *[_PLACE] * min(places, _PLACES)]) + more

    def _variable(self, path: str) -> Route | None:
        if found := self.fixed.get(path):
            return found
        if path.startswith(TENANTS):
            tenant, _, slug = path[len(TENANTS) :].partition("/")
            return self._tenants.get(slug) if tenant else None
        if path.startswith(HEARTBEATS):
            key = path[len(HEARTBEATS) :].rstrip("/")
            return self._beats if key and "/" not in key else None
        if is_alerts_api(path):
            return self.fixed[ALERTS_API]
        if _REQUEST.fullmatch(path):
            return self._requests
        return self.fixed[_ALERTS] if _ABOUT_ALERT.fullmatch(path) else None


def trimmed(path: str) -> str:
    """The path with repeated slashes reduced to one, and without slashes at its end.

    The identifier of an Opsgenie alert keeps its slashes, because they distinguish it from others.
    """
    path = "/" + path.lstrip("/")
    if _ABOUT_ALERT.fullmatch(path):
        return path
    return _SLASHES.sub("/", path).rstrip("/")
