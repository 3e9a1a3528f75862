"""Opsgenie's Alert API (https://docs.opsgenie.com/docs/alert-api): create, and what has the alert in its path."""

from urllib.parse import quote

from streams.gateway import answers
from streams.gateway.answers import UNAUTHORIZED, WRONG_TYPE, Answer, Refusal
from streams.gateway.auth import authorization
from streams.gateway.routes.route import Request, Route
from streams.gateway.senders import Sender
from streams.providers import NoAlert


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
        """The path with the alert's identifier encoded again: an alias may have slashes."""
        _, version, alerts, *rest = request.scope.path.removesuffix("/").split("/")
        if not rest:
            return request.scope.path
        return f"/{version}/{alerts}/{quote('/'.join(rest[:-1]), safe='')}/{rest[-1]}"
