"""The webhook channel: headers, signatures, verdicts. The oracle is the standardwebhooks library."""

import base64
import hashlib
import hmac
import time

import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from schemas.wire.standard_webhooks import signing_key
from sinks.channels import webhook
from sinks.channels.webhook import RESERVED, WebhookDestination
from sinks.contract import End, Request, by_status
from sinks.outbound import Answer, ErrorCode
from sinks.signature import verify
from tests.sinks.samples import QUEUED_AT, destination, message

SECRETS = ("plain text secret", "whsec_" + base64.b64encode(bytes(range(32))).decode())
URL = "https://hooks.example.com/in?token=geheim"


def render(settings: WebhookDestination, now: int) -> Request:
    """The request of the sample message at this time."""
    [request] = webhook.render(message(now=now), settings, "")
    return request


@pytest.mark.parametrize("secret", SECRETS)
def test_signature_is_accepted_by_the_standard_library_of_receivers(secret: str) -> None:
    """`webhook-signature` verifies with standardwebhooks, and no longer when a byte of the body changes."""
    request = render(destination(URL, secret=secret), int(time.time() * 1000))
    oracle = Webhook(secret if secret.startswith("whsec_") else secret.encode())
    oracle.verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        oracle.verify(request.body.replace(b"db-1", b"db-2"), dict(request.headers))


@pytest.mark.parametrize("secret", SECRETS)
def test_body_signature_is_the_hmac_of_the_raw_body(secret: str) -> None:
    """`X-Webhook-Signature` is sha256=<hex> of the body, keyed with the secret's text as it is configured."""
    request = render(destination(URL, secret=secret), QUEUED_AT)
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Webhook-Signature"] == f"sha256={expected}"


def test_attempts_differ_only_in_timestamp_and_signature() -> None:
    """A retry carries the same id, key and body; its timestamp and signature are its own."""
    target = destination(URL, secret=SECRETS[0])
    first, second = (render(target, QUEUED_AT + late) for late in (0, 4000))
    assert first.body == second.body
    changed = {name for name in first.headers if first.headers[name] != second.headers[name]}
    assert changed == {"webhook-timestamp", "webhook-signature"}
    assert first.headers["webhook-timestamp"] == str(QUEUED_AT // 1000)
    message_id = message().id
    assert first.headers["webhook-id"] == first.headers["Idempotency-Key"] == message_id


def test_unsigned_without_secret() -> None:
    """Without a secret nothing is signed."""
    assert not [name for name in render(destination(URL), 1).headers if "ignature" in name]


def test_user_headers_are_sent() -> None:
    """A destination's headers go out byte for byte; the type of the body may be among them, as it is."""
    given = {"Authorization": "Bearer Abc=", "X-Team": "ops", "content-type": "application/json"}
    headers = render(destination(URL, headers=given), QUEUED_AT).headers
    assert headers["Authorization"] == "Bearer Abc="
    assert headers["X-Team"] == "ops"
    assert headers["Content-Type"] == "application/json"
    assert "content-type" not in headers


@pytest.mark.parametrize(
    "name",
    [*sorted(RESERVED), "Host", "webhook-id", "Webhook-Signature", "webhook-timestamp", "webhook-x", "Content-Type"],
)
def test_headers_cannot_replace_ours(name: str) -> None:
    """A header that is Stormweir's, or frames the request, is refused by its name, without its value."""
    with pytest.raises(ValidationError) as caught:
        destination(URL, headers={name: "forged"})
    [issue] = caught.value.errors()
    assert issue["loc"] == ("headers",)
    assert name in issue["msg"]
    assert "forged" not in str(caught.value)


def test_a_secret_is_changed_without_a_gap() -> None:
    """With the previous secret set, receivers of either verify; the body's signature is by the new one."""
    settings = destination(URL, secret=SECRETS[1], previous_secret=SECRETS[0])
    request = render(settings, int(time.time() * 1000))
    signatures = request.headers["webhook-signature"].split(" ")
    assert len(signatures) == 2
    for secret in SECRETS:
        oracle = Webhook(secret if secret.startswith("whsec_") else secret.encode())
        oracle.verify(request.body, dict(request.headers))
    only_new = render(destination(URL, secret=SECRETS[1]), int(time.time() * 1000))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[0].encode()).verify(only_new.body, dict(only_new.headers))
    expected = hmac.new(SECRETS[1].encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Webhook-Signature"] == f"sha256={expected}"


def test_a_previous_secret_needs_a_current_one() -> None:
    """A destination is not signed by an old secret alone."""
    with pytest.raises(ValidationError) as caught:
        destination(URL, previous_secret=SECRETS[0])
    assert [issue["loc"] for issue in caught.value.errors()] == [("previous_secret",)]


def test_a_secret_that_is_not_base64_is_refused_without_the_secret() -> None:
    """`whsec_` followed by something else is no setting; the error names the field and does not repeat the value."""
    with pytest.raises(ValidationError) as caught:
        destination(URL, secret="whsec_geh*eim")
    assert [error["loc"] for error in caught.value.errors()] == [("secret",)]
    assert "geh*eim" not in str(caught.value)


def test_request_and_destination_show_no_secret() -> None:
    """Neither the request's nor the destination's text form holds secret, headers or the URL's query."""
    target = destination(URL, secret=SECRETS[0], headers={"Authorization": "Bearer Abc"})
    shown = repr(render(target, 1))
    assert shown == "Request(rates=())"
    assert SECRETS[0] not in repr(target)
    assert "Bearer" not in repr(target)


@pytest.mark.parametrize(
    ("answer", "end", "reason"),
    [
        *((Answer(status), End.DONE, "") for status in (200, 202, 204, 299)),
        *((Answer(status), End.RETRY, "unavailable") for status in (408, 425, 500, 502, 503, 504, 599)),
        (Answer(429), End.RETRY, "rate_limited"),
        *((Answer(status), End.REFUSED, "redirected") for status in (301, 302, 304, 307, 308)),
        *((Answer(status), End.REFUSED, "unauthorized") for status in (401, 403)),
        *((Answer(status), End.REFUSED, "rejected") for status in (400, 413, 422)),
        (Answer(404), End.REFUSED, "not_found"),
        (Answer(405), End.REFUSED, "post_not_accepted"),
        (Answer(410), End.REFUSED, "gone"),
        *((Answer(0, error_code=code), End.RETRY, code) for code in ("refused", "dns", "timeout", "tls", "reset")),
        *((Answer(0, error_code=code), End.REFUSED, code) for code in ("blocked_target", "invalid_request")),
    ],
)
def test_verdict(answer: Answer, end: End, reason: str) -> None:
    """2xx is delivered; time-outs, resets, 408, 425, 429 and 5xx are tried again; the rest is final."""
    code = ErrorCode(answer.error_code) if answer.error_code else None
    assert by_status(answer._replace(error_code=code))[:2] == (end, reason)


NOW = 1_760_000_000


def _signed(secret: str = SECRETS[0]) -> tuple[dict[str, str], bytes]:
    request = render(destination(URL, secret=secret), NOW * 1000)
    return {name.lower(): value for name, value in request.headers.items()}, request.body


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(("skew", "fits"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_own_verifier_takes_what_we_sign_for_five_minutes(secret: str, skew: int, fits: bool) -> None:
    """Our signature verifies within 300 s either way, also as one of several."""
    headers, body = _signed(secret)
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert verify(secret, headers, body, NOW + skew) is fits


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "", "v1", "v1,", "-1", "1e9", "٣", "9" * 400, "\udcff", "v1a,x y"])
def test_own_verifier_refuses_any_other_header_without_raising(name: str, value: str | None) -> None:
    """A missing or hostile header is a plain no."""
    headers, body = _signed()
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    assert verify(SECRETS[0], headers, body, NOW) is False


def test_own_verifier_refuses_another_body_or_secret() -> None:
    """One byte of the body or another secret and it does not fit."""
    headers, body = _signed()
    assert verify(SECRETS[0], headers, body + b" ", NOW) is False
    assert verify(SECRETS[1], headers, body, NOW) is False


@pytest.mark.parametrize("secret", ["whsec_", "whsec_%%%%", "whsec_abc"])
def test_empty_or_broken_keys_are_refused(secret: str) -> None:
    """A `whsec_` secret without a key would sign with nothing."""
    with pytest.raises(ValueError, match="base64"):
        signing_key(secret)
