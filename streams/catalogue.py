"""What can send alerts here, and how it is set up: everything derives from the providers' declarations.

Pure. `base_url` is how senders reach the gateway, without a slash at the end; a key of None stands for one
that does not exist yet and shows as `<key>`.
"""

import binascii
import hmac
import shlex
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from schemas.control import Integration
from schemas.signature import (
    GENERAL,
    FirstSent,
    HmacBase64,
    HmacHex,
    PlainToken,
    Signature,
    SnsCertificate,
    StandardWebhooks,
    TimestampedHmac,
)
from streams.providers import PROVIDERS, Provider

KEY = "<key>"
_JSON = "application/json"


class Setup(NamedTuple):
    """How a sender is connected. `headers` are what it sends besides the URL, `addresses` other ways in."""

    webhook_url: str
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    addresses: tuple[str, ...]
    steps: tuple[str, ...]
    test_request: str


def setup(integration: Integration, base_url: str) -> Setup:
    """How to connect this integration; the test request is signed if it has a secret, and shows none."""
    provider, secret = PROVIDERS[integration.type], integration.signature_secret
    headers = () if secret is None else _signature_headers(provider)
    return _setup(provider, base_url, integration.id, secret)._replace(headers=headers)


def could_sign(integration: Integration) -> bool:
    """Whether its requests are not signed although its tool may be able to, and nobody decided that (`off`)."""
    provider = PROVIDERS[integration.type]
    undecided = integration.signature_secret is None and integration.signature != "off"
    return undecided and provider.can_sign and bool(_signature_headers(provider))


def entry(provider: Provider[Any], base_url: str) -> dict[str, Any]:
    """A provider as the catalogue has it."""
    return {
        "slug": provider.slug,
        "title": provider.title,
        "docs_url": provider.docs_url,
        **_setup(provider, base_url, KEY, None)._asdict(),
        "tenant_webhook_url": f"{base_url}/v1/webhooks/<tenant>/{provider.slug}",
        "severity": provider.severity_note,
        "fields": {ours: theirs.replace("`", "") for ours, theirs in provider.fields},
    }


def catalogue_json(base_url: str) -> bytes:
    """The body of `GET /integrations/catalog`: `{"providers": [entry, ...]}`."""
    return orjson.dumps({"providers": [entry(provider, base_url) for provider in PROVIDERS.values()]})


def webhook_url(slug: str, base_url: str, key: str) -> str:
    """The URL that is all a sender needs to know."""
    return f"{base_url}/api/integrations/{slug}?integrationId={key}"


def signature_text(scheme: Signature | None) -> str:
    """How a sender proves itself when a secret is set, in a sentence without a full stop."""
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
        _test_request(provider, base_url, key, secret),
    )


def _signature_headers(provider: Provider[Any]) -> tuple[str, ...]:
    return () if isinstance(provider.signature, SnsCertificate) else (signature_text(provider.signature),)


def _test_request(provider: Provider[Any], base_url: str, key: str, secret: str | None) -> str:
    """A curl command that sends the provider's first example."""
    if isinstance(provider.signature, SnsCertificate):
        return "aws cloudwatch set-alarm-state --alarm-name <name> --state-value ALARM --state-reason test"
    example = provider.examples[0]
    headers = {"content-type": _JSON, **example.headers}
    url = webhook_url(provider.slug, base_url, key)
    if provider.addresses:
        path, key_header = provider.addresses[0]
        url, headers = f"{base_url}{path}", {**headers, "authorization": key_header.partition(": ")[2] + key}
    if secret is not None:
        headers |= _signed(provider.signature or GENERAL, secret, example.body)
    lines = [f"curl -sS --fail-with-body {shlex.quote(url)}"]
    lines += [f"-H {shlex.quote(f'{_title(name)}: {value}')}" for name, value in headers.items()]
    lines.append(f"--data-binary {shlex.quote(example.body.decode())}")
    return " \\\n  ".join(lines)


def _signed(scheme: Signature, secret: str, body: bytes) -> dict[str, str]:
    """The headers that prove a body, the reverse of schemas.signature.verify; a plain token is left to be filled in."""
    mac = hmac.digest(secret.encode(), body, sha256)
    match scheme:
        case HmacHex(headers, prefix):
            return {headers[0]: prefix + mac.hex()}
        case HmacBase64(header):
            return {header: binascii.b2a_base64(mac, newline=False).decode()}
        case TimestampedHmac(headers, _, _, prefix):
            return {headers[0]: prefix + mac.hex()}
        case FirstSent(schemes):
            return _signed(schemes[-1], secret, body)
        case PlainToken(headers):
            return {headers[0]: "<secret>"}
        case SnsCertificate() | StandardWebhooks():
            return {}


def _headers(names: tuple[str, ...]) -> str:
    return " or ".join(map(_title, names))


def _title(name: str) -> str:
    return name.title() if name.islower() else name
