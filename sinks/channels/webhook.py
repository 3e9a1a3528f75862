"""The webhook channel: a body by template to any HTTP endpoint, signed if the destination has a secret."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from schemas.control import Destination, SecretHeaders, SecretMark, SecretUrl
from schemas.wire.standard_webhooks import signing_key
from sinks.contract import THREE_RETRIES, Channel, Help, Message, RenderError, Request, by_status
from sinks.events_v2 import events
from sinks.render import TEMPLATES, body
from sinks.sample import SAMPLES
from sinks.signature import sign
from sinks.template import MAX_TEMPLATE, BadTemplateError, Labels, fill

#: Names that a destination's own headers cannot have, lower case, as any that begins with `webhook-`: Stormweir sets
#: them, or HTTP frames requests by them.
RESERVED = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-webhook-signature",
    }
)
_JSON = "application/json"
#: The header in which products that follow PagerDuty's API take the key.
_TOKEN = re.compile(r'Token token="?([^"\s]+)"?')


def _usable(secret: str | None) -> str | None:
    if secret is not None:
        signing_key(secret)
    return secret


SigningSecret = Annotated[str | None, AfterValidator(_usable), SecretMark()]


class WebhookDestination(Destination):
    """An HTTP endpoint."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["webhook"] = "webhook"
    url: SecretUrl = Field(description="The address that takes POST requests; nothing of it but its host is shown.")
    template: Literal["stormweir-v1", "cortif-v1", "opsknight-v1", "pagerduty-v2", "custom"] = Field(
        default="stormweir-v1",
        description="The shape of the body. `pagerduty-v2` takes the key from the header "
        "`Authorization: Token token=<key>`; `custom` is `body_template`.",
    )
    content_type: str = Field(
        default=_JSON,
        pattern=r"^[a-z]+/[A-Za-z0-9.+-]+(; ?charset=utf-8)?$",
        description="The type of the body that `body_template` makes; the other templates make JSON.",
    )
    body_template: str | None = Field(
        default=None,
        max_length=MAX_TEMPLATE,
        validate_default=True,
        description="A Jinja2 template of the body, with the fields of `stormweir-v1` as its variables. It is shown "
        "like any field: a credential belongs into `headers`.",
    )
    secret: SigningSecret = Field(
        default=None, min_length=8, repr=False, description="Signs every request, so that the receiver can verify it."
    )
    previous_secret: SigningSecret = Field(
        default=None,
        min_length=8,
        repr=False,
        description="The secret before, which signs too: a receiver that has not changed yet still verifies.",
    )
    headers: SecretHeaders = Field(
        default_factory=dict,
        validate_default=True,
        description="Headers that are sent besides Stormweir's own, such as `Authorization`.",
    )

    @field_validator("content_type")
    @classmethod
    def _fits(cls, content_type: str, info: ValidationInfo) -> str:
        if content_type != _JSON and info.data.get("template", "custom") != "custom":
            raise ValueError("is for the template custom; the other templates make application/json")
        return content_type

    @field_validator("body_template")
    @classmethod
    def _renders(cls, source: str | None, info: ValidationInfo) -> str | None:
        if not {"template", "content_type"} <= info.data.keys():
            return source
        custom = info.data["template"] == "custom"
        if custom != (source is not None):
            raise ValueError("is needed for the template custom" if custom else "is for the template custom alone")
        if source is not None:
            _try(source, info.data["content_type"])
        return source

    @field_validator("previous_secret")
    @classmethod
    def _follows(cls, previous: str | None, info: ValidationInfo) -> str | None:
        if previous is not None and info.data.get("secret") is None:
            raise ValueError("needs a secret that follows it")
        return previous

    @field_validator("headers")
    @classmethod
    def _own(cls, headers: Mapping[str, str], info: ValidationInfo) -> Mapping[str, str]:
        for name, value in headers.items():
            lower = name.lower()
            if lower in RESERVED or lower.startswith("webhook-"):
                raise ValueError(f"{name} is set by Stormweir")
            if lower == "content-type" and value != info.data.get("content_type", value):
                raise ValueError(f"{name} is set by `content_type`")
        if info.data.get("template") == "pagerduty-v2" and not _token(headers):
            raise ValueError("pagerduty-v2 takes the key from Authorization: Token token=<key>")
        return headers


def _try(source: str, content_type: str) -> None:
    """Raise ValueError if the template fails for a sample, or makes no JSON where JSON is promised."""
    for sample in SAMPLES:
        made = fill(source, _variables(sample))
        if content_type.partition(";")[0] == _JSON:
            try:
                orjson.loads(made)
            except orjson.JSONDecodeError as error:
                raise ValueError(
                    f"makes no JSON of a title with quotation marks ({error.msg}): write texts as {{{{ ... |tojson }}}}"
                ) from None


def _variables(message: Message) -> Mapping[str, object]:
    """The fields of `stormweir-v1`, where any label can be asked for; what is told, and whether it is a test."""
    content = TEMPLATES["stormweir-v1"](message)
    incident = content["incident"]
    assert isinstance(incident, dict)
    labels = Labels(message.incident.labels)
    return {**content, "incident": {**incident, "labels": labels}, "told": list(message.told), "test": message.test}


def _token(headers: Mapping[str, str]) -> str:
    found = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    match = _TOKEN.fullmatch(found.strip())
    return match[1] if match else ""


def _bodies(message: Message, settings: WebhookDestination) -> Sequence[bytes]:
    match settings.template:
        case "pagerduty-v2":
            return events(message, _token(settings.headers))
        case "custom":
            try:
                return [fill(settings.body_template or "", _variables(message))]
            except BadTemplateError:
                raise RenderError("template_failed") from None
        case name:
            return [body(name, message)]


def render(message: Message, settings: WebhookDestination, handle: str) -> Sequence[Request]:
    """The request of one attempt: id and body are the same each time, timestamp and signature are not.

    `pagerduty-v2` may need two requests; the earlier one then has an id of its own.
    """
    bodies = _bodies(message, settings)
    ids = [*(f"{message.id}-{number}" for number in range(1, len(bodies))), message.id]
    seconds = message.now // 1000
    own = {name: value for name, value in settings.headers.items() if name.lower() != "content-type"}
    requests = []
    for request_id, payload in zip(ids, bodies, strict=True):
        headers = own | {
            "Content-Type": settings.content_type,
            "Idempotency-Key": request_id,
            "webhook-id": request_id,
            "webhook-timestamp": str(seconds),
        }
        if settings.secret is not None:
            headers |= sign(settings.secret, request_id, seconds, payload, settings.previous_secret)
        requests.append(Request(str(settings.url), payload, headers))
    return requests


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
        "a signed webhook": {
            "type": "webhook",
            "url": "https://hooks.example.com/alerts",
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
        "while a secret is changed": {
            "type": "webhook",
            "url": "https://hooks.example.com/alerts",
            "secret": "whsec_cTlSZGZ2OFh0b0ZsaVp3Y0pQbkVh",
            "previous_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
        "a body of one's own": {
            "type": "webhook",
            "url": "https://chat.example.com/hooks/ops",
            "template": "custom",
            "body_template": '{"text": {{ incident.title|tojson }}, "link": {{ incident.url|tojson }}}',
        },
        "a product with PagerDuty's API": {
            "type": "webhook",
            "url": "https://alerts.example.com/api/events",
            "template": "pagerduty-v2",
            "headers": {"Authorization": "Token token=5f0c2a9d7e4b41c8a3d6f1b20e987c65"},
        },
    },
    help={
        "template_failed": Help(
            "The destination's `body_template` fails for this incident.",
            "Look at what the incident has that the template does not expect: more labels, an empty field.",
        )
    },
    retry=(THREE_RETRIES, THREE_RETRIES),
)
