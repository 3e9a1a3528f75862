"""PagerDuty's Events API: `/v2/enqueue` and `/v2/change/enqueue` as PagerDuty has them, and `/api/events`."""

from typing import Any

from streams.gateway import answers
from streams.gateway.answers import UNKNOWN_SERVICE, Answer, Refusal
from streams.gateway.auth import authorization, key_in, token
from streams.gateway.routes.route import Request, Route
from streams.gateway.senders import ApiSender, Sender
from streams.providers import BadBody, NoAlert


class Enqueue(Route):
    """The key is in the Token header or, as at PagerDuty, in the body's `routing_key`.

    https://developer.pagerduty.com/docs/send-alert-event
    """

    def identify(self, request: Request) -> Sender:
        """The integration of the key. The body is read for the key only if the header has none.

        A body that is not JSON has no key, right or wrong: it is refused with 400, as PagerDuty does.
        """
        key = token(request.header)
        if key is None:
            try:
                event = request.decoded = self.provider.decode(request.body, request.context)
                key = event.routing_key
            except (BadBody, NoAlert) as nothing:
                request.decoded = nothing
                key = key_in(request.body)
                if key is None and isinstance(nothing, BadBody) and nothing.path == "body":
                    raise Refusal(answers.bad_body(nothing.path, nothing.reason)) from None
        return self._directory.integration(key)

    def decode(self, request: Request) -> Any:
        """The event, which `identify` may have decoded already."""
        if request.decoded is None:
            return self.provider.decode(request.body, request.context)
        if isinstance(request.decoded, Exception):
            raise request.decoded
        return request.decoded

    def accepted(self, request: Request, order_key: str) -> Answer:
        """202 with the dedup key."""
        return answers.processed(order_key)

    def refused(self, request: Request, answer: Answer) -> Answer:
        """A 400 gets the fields of PagerDuty's `invalid event`."""
        return answers.as_pagerduty(answer)


class Events(Route):
    """An integration's key (Token), or an API key (Bearer) and `service_id` in the body. `dedup_key` is required."""

    def identify(self, request: Request) -> Sender:
        """The integration of the key, or the API key's sender, whose service the body names."""
        key = authorization(request.header, "bearer ")
        if key is None:
            return self._directory.integration(token(request.header))
        return self._directory.api_key(key)

    def decode(self, request: Request) -> Any:
        """The event. Refuses with 404 for a service that is not declared."""
        event = self.provider.decode(request.body, request.context)
        if not event.dedup_key:
            raise BadBody("dedup_key", "is required")
        sender = request.sender
        if isinstance(sender, ApiSender):
            if not event.service_id:
                raise BadBody("service_id", "is required with an API key")
            if not self._directory.has_service(sender.tenant, event.service_id):
                raise Refusal(UNKNOWN_SERVICE, sender)
            request.sender = sender._replace(service=event.service_id)
        return event

    def accepted(self, request: Request, order_key: str) -> Answer:
        """202 with the dedup key."""
        return answers.processed(order_key)
