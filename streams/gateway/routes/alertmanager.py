"""Alertmanager's API as its clients use it: Prometheus, Loki and vmalert post alerts to it, and do nothing else.

https://prometheus.io/docs/alerting/latest/alerts_api/ . A client appends `/api/v2/alerts` to the address it is given,
so the key is in front of that, or in the header Authorization, which these clients can set.
"""

import re
from base64 import b64decode

from streams.gateway.answers import UNAUTHORIZED, Answer, Refusal
from streams.gateway.auth import authorization, integration_id, token
from streams.gateway.routes.route import Request, Route
from streams.gateway.senders import Sender

ALERTS_API = "/api/v2/alerts"
#: The path with the key in it; no record of a request contains this path.
_KEYED = re.compile(rf"/api/integrations/prometheus/([0-9a-f]{{32}}){ALERTS_API}/?")


class AlertmanagerAlerts(Route):
    """A key in the path, in the URL's `integrationId`, as bearer token, or as password of basic authentication.

    It is the key of a Prometheus integration, or an API key.
    """

    def identify(self, request: Request) -> Sender:
        """The integration of the key, or the API key's sender of this provider."""
        keyed = _KEYED.fullmatch(request.scope.path)
        key = keyed[1] if keyed is not None else _key_in(request)
        if not key:
            raise Refusal(UNAUTHORIZED)
        return self._directory.sender_of_type(key, self.provider.slug)

    def accepted(self, request: Request, order_key: str) -> Answer:
        """200, like Alertmanager: old versions of vmalert treat any other status as a failure."""
        return super().accepted(request, order_key)._replace(status=200)


def is_alerts_api(path: str) -> bool:
    """Whether this is the path of the API with a key in front of it."""
    return _KEYED.fullmatch(path) is not None


def _key_in(request: Request) -> str | None:
    bearer = authorization(request.header, "bearer ") or token(request.header)
    basic = authorization(request.header, "basic ")
    if bearer or basic is None:
        return bearer or integration_id(request.scope.query_string)
    try:
        return b64decode(basic, validate=True).decode().partition(":")[2]
    except ValueError:
        return None
