"""Opsgenie's Alert API (https://docs.opsgenie.com/docs/alert-api): create, and what has the alert in its path.

Alertmanager with `update_alerts` sends PUT `<alias>/message` and `<alias>/description` after each create
(https://prometheus.io/docs/alerting/latest/configuration/#opsgenie_config), and takes any refusal for a failed
notification.
"""

import re
from typing import Any
from urllib.parse import quote

from streams.gateway import answers
from streams.gateway.answers import NOT_FOUND, UNAUTHORIZED, WRONG_TYPE, Answer, Refusal
from streams.gateway.auth import authorization
from streams.gateway.routes.route import Request, Route
from streams.gateway.senders import Sender
from streams.providers import NoAlert

#: What is done to an alert by POST and PUT.
_ACT = re.compile(r"/v2/alerts/.+/[a-z]+", re.DOTALL)
#: Parts of an alert that can be deleted alone.
_PARTS = {"tags", "details"}


class OpsgenieAlerts(Route):
    """`Authorization: GenieKey <key>`: the key of an Opsgenie integration, or an API key."""

    def identify(self, request: Request) -> Sender:
        """The integration of the key, or the API key's sender of this provider."""
        key = authorization(request.header, "geniekey ")
        if not key:
            raise Refusal(UNAUTHORIZED)
        found = self._directory.find(key)
        if found is None:
            return self._directory.sender_for(self._directory.api_key(key), self.provider.slug)
        if found.type != self.provider.slug:
            raise Refusal(WRONG_TYPE, found)
        return found

    def accepted(self, request: Request, order_key: str) -> Answer:
        """202 with the request's id, by which the vendor's clients ask how it went."""
        return answers.will_be_processed(request.id, request.took)

    def silent(self, request: Request, silence: NoAlert) -> Answer:
        """The same for what changes no alert here, such as a note."""
        return answers.will_be_processed(request.id, request.took)

    def refused(self, request: Request, answer: Answer) -> Answer:
        """With `message`, `took` and `requestId`."""
        return answers.as_opsgenie(answer, request.id, request.took)

    def path(self, request: Request) -> str:
        """The path with the alert's identifier encoded again: an alias may have slashes.

        DELETE of an alert is written as the end it is, `<alias>/close`; of a part of it (tags, details) it stays.
        """
        _, version, alerts, *rest = request.scope.path.removesuffix("/").split("/")
        if not rest:
            return request.scope.path
        if request.scope.method == "DELETE" and rest[-1] not in _PARTS:
            rest = [*rest, "close"]
        if len(rest) == 1:
            return request.scope.path
        return f"/{version}/{alerts}/{quote('/'.join(rest[:-1]), safe='')}/{rest[-1]}"

    def decode(self, request: Request) -> Any:
        """What is done. Refuses with 404 what the API does not have: POST of an alert, PUT of all of them."""
        method, path = request.scope.method, request.scope.path.removesuffix("/")
        if method == "DELETE":
            known = path != self.address
        else:
            known = _ACT.fullmatch(path) is not None or (method == "POST" and path == self.address)
        if not known:
            raise Refusal(NOT_FOUND, request.sender)
        return super().decode(request)
