"""Opsgenie's Alert API (https://docs.opsgenie.com/docs/alert-api).

It has three kinds of requests: creating an alert, acting on the alert in the path, and asking for the status of a
request. Alertmanager with `update_alerts` sends PUT `<alias>/message` and `<alias>/description` after each create
(https://prometheus.io/docs/alerting/latest/configuration/#opsgenie_config), and treats any refusal as a failed
notification.
"""

import re
from typing import Any, NoReturn
from urllib.parse import quote
from uuid import UUID

from schemas.fingerprint import digest
from streams.gateway import answers
from streams.gateway.answers import NOT_FOUND, UNAUTHORIZED, UNKNOWN_REQUEST, Answer, Refusal
from streams.gateway.auth import Directory, authorization
from streams.gateway.routes.route import Request, Route
from streams.gateway.senders import Sender
from streams.providers import NoAlert, Provider

#: Action and status of a request by the verb in its path; any other verb changes no alert here.
_ACTIONS = {
    "": ("Create", "Created alert"),
    "acknowledge": ("Acknowledge", "Acknowledged alert"),
    "close": ("Close", "Closed alert"),
}
_OTHER = ("Update", "Updated alert")
#: An alert's identifier, which may contain slashes, and what follows it.
_ABOUT_ALERT = re.compile("/+v2/+alerts/(.*?)/*", re.DOTALL)
_VERB = re.compile("[a-z]+")
#: Parts of an alert that can be deleted on their own.
_PARTS = {"tags", "details"}
#: For how many requests this process remembers which alert they were about.
_REMEMBERED = 10_000
_SEAL = 4


class OpsgenieAlerts(Route):
    """`Authorization: GenieKey <key>`: the key of an Opsgenie integration, or an API key.

    The last bytes of a request's id are a seal over its sender and its action. So every gateway recognizes an id that
    was issued, also after a restart, without storing it.
    """

    def __init__(self, provider: Provider[Any], directory: Directory) -> None:
        super().__init__(provider, directory)
        self._keys: dict[str, str] = {}

    def identify(self, request: Request) -> Sender:
        """The integration of the key, or the API key's sender of this provider. Seals the request's id."""
        sender = self.sender(request)
        _, verb = _about(request)
        action, _ = _ACTIONS.get(verb, _OTHER)
        request.event_id = _sealed(request.event_id, sender, action)
        return sender

    def key_of(self, request_id: str) -> str:
        """The dedup key of the alert that this request was about, "" if this process no longer remembers it."""
        return self._keys.get(request_id, "")

    def sender(self, request: Request) -> Sender:
        """The integration of the key, or the API key's sender of this provider. Refuses with 401 or 403."""
        key = authorization(request.header, "geniekey ")
        if not key:
            raise Refusal(UNAUTHORIZED)
        return self._directory.sender_of_type(key, self.provider.slug)

    def accepted(self, request: Request, order_key: str) -> Answer:
        """202 with the request's id, by which the vendor's clients ask for its status."""
        if len(self._keys) >= _REMEMBERED:
            del self._keys[next(iter(self._keys))]
        self._keys[request.id] = order_key
        return answers.will_be_processed(request.id, request.took)

    def silent(self, request: Request, silence: NoAlert) -> Answer:
        """The same answer for a request that changes no alert here, such as a note."""
        return answers.will_be_processed(request.id, request.took)

    def refused(self, request: Request, answer: Answer) -> Answer:
        """The refusal with `message`, `took` and `requestId`."""
        return answers.as_opsgenie(answer, request.id, request.took)

    def path(self, request: Request) -> str:
        """The path with the alert's identifier encoded again, because an alias may contain slashes.

        DELETE of an alert becomes `<alias>/close`, because it ends the alert; DELETE of a part of it (tags, details)
        stays.
        """
        alert, verb = _about(request)
        return f"/v2/alerts/{quote(alert, safe='')}/{verb}" if alert and verb else request.scope.path

    def decode(self, request: Request) -> Any:
        """The event. Refuses with 404 a request that the API does not have: POST of an alert, PUT of all of them."""
        alert, verb = _about(request)
        if not (_VERB.fullmatch(verb) if alert else request.scope.method == "POST" and not verb):
            raise Refusal(NOT_FOUND, request.sender)
        return super().decode(request)


class OpsgenieRequests(Route):
    """`GET /v2/alerts/requests/<id>`: a request answered with 202 is done. An id that was never issued is unknown."""

    limited = False

    def __init__(self, alerts: OpsgenieAlerts, directory: Directory) -> None:
        super().__init__(alerts.provider, directory)
        self.methods = ("GET",)
        self._alerts = alerts

    def identify(self, request: Request) -> Sender:
        """The sender, as for alerts."""
        return self._alerts.sender(request)

    def decode(self, request: Request) -> NoReturn:
        """Raises NoAlert with the answer, because the request carries no alert. Refuses with 404 for an unknown id."""
        assert request.sender is not None
        asked = request.scope.path.rstrip("/").rpartition("/")[2]
        try:
            event_id = UUID(asked).bytes
        except ValueError:
            event_id = b""
        found = _action(event_id, request.sender)
        if found is None:
            raise Refusal(UNKNOWN_REQUEST, request.sender)
        key = self._alerts.key_of(asked)
        raise NoAlert("ignored", answers.request_status(asked, *found, key, request.took).body)

    def silent(self, request: Request, silence: NoAlert) -> Answer:
        """200 with the status."""
        return answers.document(silence.answer)

    def refused(self, request: Request, answer: Answer) -> Answer:
        """The refusal with `message`, `took` and `requestId`."""
        return answers.as_opsgenie(answer, request.id, request.took)


def _about(request: Request) -> tuple[str, str]:
    """The identifier of the alert in the path and the action on it; both "" for a path without an alert."""
    found = _ABOUT_ALERT.fullmatch(request.scope.path)
    rest = found[1] if found is not None else ""
    alert, _, verb = rest.rpartition("/")
    if request.scope.method == "DELETE" and verb not in _PARTS:
        return (rest, "close") if rest else ("", "")
    return alert, verb


def _sealed(event_id: bytes, sender: Sender, action: str) -> bytes:
    """The id with its last bytes replaced by a digest of the rest, the sender and the action."""
    head = event_id[:-_SEAL]
    return head + digest(sender.id, head.hex(), action)[:_SEAL]


def _action(event_id: bytes, sender: Sender) -> tuple[str, str] | None:
    """The action and status, in Opsgenie's words, of this sender's sealed id; None for an id not issued to it."""
    every = (*_ACTIONS.values(), _OTHER)
    return next((found for found in every if event_id and _sealed(event_id, sender, found[0]) == event_id), None)
