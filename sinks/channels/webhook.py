"""The webhook channel: JSON by template to any HTTP endpoint, signed if the destination has a secret."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from schemas.control import Destination, SecretHeaders, SecretMark, SecretUrl
from schemas.wire.standard_webhooks import signing_key
from sinks.contract import THREE_RETRIES, Channel, Message, Request, by_status
from sinks.render import body
from sinks.signature import sign

#: Names that a destination's own headers cannot have, lower case: Stormweir sets them, or HTTP frames requests by them.
RESERVED = frozenset(
    {
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "expect",
        "host",
        "idempotency-key",
        "te",
        "trailer",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-webhook-signature",
    }
)


class WebhookDestination(Destination):
    """An HTTP endpoint. Requests are signed with `secret`; `headers` are sent besides Stormweir's own."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["webhook"] = "webhook"
    url: SecretUrl
    template: Literal["stormweir-v1", "cortif-v1", "opsknight-v1"] = "stormweir-v1"
    secret: Annotated[str | None, SecretMark()] = Field(default=None, min_length=8, repr=False)
    headers: SecretHeaders = Field(default_factory=dict)

    @field_validator("secret")
    @classmethod
    def _usable(cls, secret: str | None) -> str | None:
        if secret is not None:
            signing_key(secret)
        return secret


def render(message: Message, settings: WebhookDestination, handle: str) -> Sequence[Request]:
    """The request of one attempt: id and body are the same each time, timestamp and signature are not."""
    payload = body(settings.template, message)
    seconds = message.now // 1000
    headers = {name: value for name, value in settings.headers.items() if name.lower() not in RESERVED}
    headers |= {
        "Content-Type": "application/json",
        "Idempotency-Key": message.id,
        "webhook-id": message.id,
        "webhook-timestamp": str(seconds),
    }
    if settings.secret is not None:
        headers |= sign(settings.secret, message.id, seconds, payload)
    return [Request(str(settings.url), payload, headers)]


CHANNEL = Channel(
    slug="webhook",
    title="Webhook",
    settings=WebhookDestination,
    render=render,
    classify=by_status,
    setup=(
        "Have an HTTPS endpoint that takes POST requests with JSON and answers 2xx within 30 s.",
        "Put its address into `url`; choose a `template` if the receiver was written for another product.",
        "Set a `secret` and verify the signature of what arrives.",
    ),
    examples={
        "a signed webhook": {"type": "webhook", "url": "https://hooks.example.com/alerts", "secret": "change-me"}
    },
    retry=(THREE_RETRIES, THREE_RETRIES),
)
