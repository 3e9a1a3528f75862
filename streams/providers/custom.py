"""CauseFlow's custom webhook (https://docs.causeflow.ai): a fixed shape for tools that are in no list.

`title` and `description` are required; `sourceAlertId`, `severity`, `service`, `environment`, `tags` and `metadata` are
optional. The id, or else title, service and environment, identify a repeat. The shape has no end; a tool that can
report an end uses the generic webhook.
"""

from schemas.wire.alert import Action
from streams.policy.signature import GENERAL
from streams.providers._contract import (
    Context,
    Draft,
    Example,
    Provider,
    as_decoded,
    first_key,
    joined_key,
    make_draft,
)
from streams.providers._fields import as_object, labels_of, read_json


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    title, description = fields.require("title"), fields.require("description")
    service, environment = fields.text("service"), fields.text("environment")
    given = fields.text("sourceAlertId")
    return [
        make_draft(
            dedup_key=joined_key("custom", given) if given else joined_key("custom", title, service, environment),
            action=Action.TRIGGER,
            severity=context.severity(fields.text("severity")),
            summary=f"{title}: {description}",
            source=service or environment or "custom",
            component=service,
            group=environment,
            labels=labels_of(fields.get("tags")),
            details=details,
        )
    ]


PROVIDER = Provider(
    slug="custom",
    title="CauseFlow custom webhook",
    docs_url="https://docs.causeflow.ai",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    signature=GENERAL,
    setup=(
        "Post JSON with title and description to the integration's URL; sourceAlertId makes repeats one alert.",
        "To sign, set signature_secret here and send HMAC-SHA256 of the body in hexadecimal as X-Webhook-Signature.",
    ),
    fields=(
        ("dedup_key", "`sourceAlertId`, else `title`, `service` and `environment`"),
        ("action", "always trigger"),
        ("severity", "`severity`"),
        ("summary", "`title` and `description`"),
        ("source", "`service`, `environment`"),
        ("component", "`service`"),
        ("group", "`environment`"),
        ("labels", "`tags`"),
    ),
    severity_note="The words everyone knows, critical to info; without one the integration's default.",
    key_scope="global",
    key_reason="the sender chooses sourceAlertId, or title, service and environment, on purpose",
    retries=(429, 503),
    retries_note="the sender's author decides: docs/senders.md tells to send again after Retry-After",
    examples=(
        Example(
            b'{"title":"Till offline","description":"No sale for 10 minutes","sourceAlertId":5501,"severity":"high",'
            b'"service":"till","environment":"prod","tags":["team:shop"],"metadata":{"store":12}}',
            ((Action.TRIGGER, "custom|5501"),),
        ),
        Example(
            b'{"title":"Till offline","description":"No sale","service":"till"}',
            ((Action.TRIGGER, "custom|Till offline|till|"),),
        ),
    ),
)
