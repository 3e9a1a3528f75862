"""What can send alerts, and how to set it up; everything derives from the providers' declarations.

Pure. `base_url` is how senders reach the gateway, without a slash at the end; KEY stands for a key that does not exist
yet.
"""

import shlex
from typing import Any, NamedTuple

import orjson

from schemas.control import DEFAULT_RATE_LIMIT, Integration, RateLimit
from streams.policy.signature import (
    GENERAL,
    FirstSent,
    HmacBase64,
    HmacHex,
    PlainToken,
    Signature,
    SnsCertificate,
    StandardWebhooks,
    TimestampedHmac,
    sign,
)
from streams.providers import PROVIDERS, Example, Provider, find

KEY = "<key>"
_JSON = "application/json"


class Setup(NamedTuple):
    """How a sender is connected. `headers` are what it sends besides the URL, `addresses` are other ways in.

    `sends_again` says after which refusals the tool retries, which determines the default rate limit.
    """

    webhook_url: str
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    addresses: tuple[str, ...]
    steps: tuple[str, ...]
    sends_again: str
    test_request: str


class Request(NamedTuple):
    """A request to post."""

    url: str
    headers: dict[str, str]
    body: bytes


def setup(integration: Integration, base_url: str) -> Setup:
    """How to connect this integration. The test request is signed if there is a secret, but never shows it."""
    provider, secret = PROVIDERS[integration.type], integration.signature_secret
    headers = () if secret is None else _signature_headers(provider)
    return _setup(provider, base_url, integration.id, secret)._replace(headers=headers)


def rate_limit(integration: Integration) -> RateLimit:
    """Requests a minute that an integration may send: its own limit, else the limit of its type."""
    if integration.rate_limit is not None:
        return integration.rate_limit
    provider = find(integration.type)
    return DEFAULT_RATE_LIMIT if provider is None else provider.rate_limit


def could_sign(integration: Integration) -> bool:
    """Whether the integration takes unsigned requests, though its tool may be able to sign and `off` was not chosen.

    Amazon SNS is excluded: it signs without a secret of ours.
    """
    if integration.signature_secret is not None or integration.signature == "off":
        return False
    provider = find(integration.type)
    return provider is None or (provider.can_sign and not isinstance(provider.signature, SnsCertificate))


def entry(provider: Provider[Any], base_url: str) -> dict[str, Any]:
    """The entry of a provider in the catalogue."""
    return {
        "slug": provider.slug,
        "title": provider.title,
        "docs_url": provider.docs_url,
        **_setup(provider, base_url, KEY, None)._asdict(),
        "tenant_webhook_url": f"{base_url}/v1/webhooks/<tenant>/{provider.slug}",
        "severity": provider.severity_note,
        "keys": provider.key_scope,
        "rate_limit": provider.rate_limit,
        "fields": {ours: theirs.replace("`", "") for ours, theirs in provider.fields},
    }


def catalogue_json(base_url: str) -> bytes:
    """The body of `GET /integrations/catalog`: `{"providers": [entry, ...]}`."""
    return orjson.dumps({"providers": [entry(provider, base_url) for provider in PROVIDERS.values()]})


def webhook_url(slug: str, base_url: str, key: str) -> str:
    """The webhook URL, which is all that a sender needs to know."""
    return f"{base_url}/api/integrations/{slug}?integrationId={key}"


def request(
    provider: Provider[Any], base_url: str, key: str, example: Example, secret: str | None, now: float | None = None
) -> Request:
    """An example as its tool would send it, signed if there is a secret; `now` is passed to `policy.signature.sign`."""
    headers = {"content-type": _JSON, **example.headers}
    url = webhook_url(provider.slug, base_url, key)
    if provider.addresses and not provider.prefers_webhook:
        path, key_header = provider.addresses[0]
        url, headers = f"{base_url}{path}", {**headers, "authorization": key_header.partition(": ")[2] + key}
    if secret is not None:
        headers |= sign(provider.signature or GENERAL, secret, example.body, now)
    return Request(url, headers, example.body)


def sends_again(provider: Provider[Any]) -> str:
    """Whether the tool retries a request after 429 and after 503, in a sentence without a full stop.

    >>> sends_again(PROVIDERS["github"])[:36]
    'not after 429, not after 503: GitHub'
    """
    told = (f"{'' if status in provider.retries else 'not '}after {status}" for status in (429, 503))
    return f"{', '.join(told)}: {provider.retries_note}"


def signature_text(scheme: Signature | None) -> str:
    """How a request is authenticated when a secret is set, in a sentence without a full stop."""
    match scheme or GENERAL:
        case HmacHex(headers, prefix, strict):
            form = f"after {prefix}" if strict else f"bare or after {prefix}"
            return f"{_headers(headers)}: HMAC-SHA256 of the body, hexadecimal, {form}"
        case HmacBase64(header):
            return f"{_headers((header,))}: HMAC-SHA256 of the body, base64"
        case TimestampedHmac(headers, timestamp_header, layout):
            timed = f"{(layout % (b'<seconds>', b'<body>')).decode()} with the seconds in {_title(timestamp_header)}"
            return f"{_headers(headers)}: HMAC-SHA256 of the body, or of {timed}, hexadecimal"
        case StandardWebhooks():
            return "Webhook-Id, Webhook-Timestamp and Webhook-Signature of Standard Webhooks"
        case FirstSent(schemes):
            return ". Or ".join(map(signature_text, reversed(schemes)))
        case PlainToken(headers):
            return f"{_headers(headers)}: the secret itself"
        case SnsCertificate():
            return "none to set: Amazon SNS signs each message, which is checked with its certificate"


def _setup(provider: Provider[Any], base_url: str, key: str, secret: str | None) -> Setup:
    return Setup(
        webhook_url(provider.slug, base_url, key),
        provider.methods,
        tuple(f"{text} (if a secret is set)" for text in _signature_headers(provider)),
        tuple(f"{base_url}{path} with {header}{key}" for path, header in provider.addresses),
        provider.setup,
        sends_again(provider),
        _test_request(provider, base_url, key, secret),
    )


def _signature_headers(provider: Provider[Any]) -> tuple[str, ...]:
    return () if isinstance(provider.signature, SnsCertificate) else (signature_text(provider.signature),)


def _test_request(provider: Provider[Any], base_url: str, key: str, secret: str | None) -> str:
    """A curl command that sends the provider's first example."""
    if isinstance(provider.signature, SnsCertificate):
        return "aws cloudwatch set-alarm-state --alarm-name <name> --state-value ALARM --state-reason test"
    url, headers, body = request(provider, base_url, key, provider.examples[0], secret)
    if isinstance(provider.signature, PlainToken):
        headers |= {name: "<secret>" for name in provider.signature.headers if name in headers}
    lines = [f"curl -sS --fail-with-body {shlex.quote(url)}"]
    lines += [f"-H {shlex.quote(f'{_title(name)}: {value}')}" for name, value in headers.items()]
    lines.append(f"--data-binary {shlex.quote(body.decode())}")
    return " \\\n  ".join(lines)


def _headers(names: tuple[str, ...]) -> str:
    return " or ".join(map(_title, names))


def _title(name: str) -> str:
    return name.title() if name.islower() else name
