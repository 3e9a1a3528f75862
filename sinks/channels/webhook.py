"""The webhook channel: JSON by template to any HTTP endpoint, signed if the destination has a secret."""

from uuid import UUID

from schemas.control import Destination
from schemas.wire.notification import Notification, Outcome
from sinks.contract import Channel, Field, RenderError, Request, Verdict
from sinks.outbound import Answer, ErrorCode
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


def render(notification: Notification, destination: Destination, base_url: str, now: int) -> Request:
    """The request for one attempt: id and body are the same each time, timestamp and signature are not."""
    message_id = str(UUID(bytes=notification.notification_id))
    payload = body(destination.template, notification, base_url)
    headers = {name: value for name, value in destination.headers.items() if name.lower() not in RESERVED}
    headers |= {
        "Content-Type": "application/json",
        "Idempotency-Key": message_id,
        "webhook-id": message_id,
        "webhook-timestamp": str(now // 1000),
    }
    if destination.secret is not None:
        try:
            headers |= sign(destination.secret, message_id, now // 1000, payload)
        except ValueError:
            raise RenderError("bad_secret") from None
    return Request(str(destination.url), payload, headers)


def classify(answer: Answer) -> Verdict:
    """2xx is delivered; temporary errors are retried; redirects and rejections are final."""
    status = answer.status
    match answer.error_code:
        case ErrorCode.BLOCKED_TARGET | ErrorCode.INVALID_REQUEST as code:
            return Verdict(Outcome.FAILED, code)
        case ErrorCode() as code:
            return Verdict(Outcome.RETRY, code)
    if 200 <= status < 300:
        return Verdict(Outcome.DELIVERED)
    if status == 429:
        return Verdict(Outcome.RETRY, "rate_limited")
    if status in {408, 425} or status >= 500:
        return Verdict(Outcome.RETRY, "unavailable")
    if status < 400:
        return Verdict(Outcome.FAILED, "redirected")
    reasons = {401: "unauthorized", 403: "unauthorized", 405: "post_not_accepted", 410: "gone"}
    return Verdict(Outcome.FAILED, reasons.get(status, "rejected"))


CHANNEL = Channel(
    slug="webhook",
    title="Webhook",
    fields=(
        Field("url", "URL", required=True, secret=True),
        Field("template", "Template"),
        Field("secret", "Signing secret", secret=True),
        Field("headers", "Headers", secret=True),
    ),
    render=render,
    classify=classify,
)
