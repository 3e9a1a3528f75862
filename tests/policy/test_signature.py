"""Signatures: each scheme accepts what the vendor sends and nothing else, and says why not."""

import base64
import hmac
from hashlib import sha256

import pytest

from streams.policy.signature import (
    GENERAL,
    HmacBase64,
    HmacHex,
    PlainToken,
    Reason,
    Signature,
    SnsCertificate,
    TimestampedHmac,
    sign,
    verify,
)

BODY = b"Hello, World!"
SECRET = "It's a Secret to Everybody"
#: GitHub's published test vector for this secret and body.
GITHUB = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
NOW = 1_762_423_200
HEX = HmacHex(("x-signature", "x-webhook-signature"))
TIMED = TimestampedHmac(("x-sig",), "x-time")


def mac(signed: bytes, secret: str = SECRET) -> str:
    """The HMAC-SHA256 in hexadecimal."""
    return hmac.new(secret.encode(), signed, sha256).hexdigest()


def reason(scheme: Signature, headers: dict[str, str], body: bytes = BODY, secret: str = SECRET) -> Reason | None:
    """Why a request is refused, None if it is not."""
    return verify(scheme, secret, headers.get, body, float(NOW))


@pytest.mark.parametrize("given", [GITHUB, GITHUB.upper(), f"sha256={GITHUB}", f"SHA256={GITHUB}", f" {GITHUB} "])
def test_hexadecimal_in_any_case_with_or_without_its_prefix(given: str) -> None:
    """The published vector holds in every way of writing it, in either header."""
    assert reason(HEX, {"x-signature": given}) is None
    assert reason(HEX, {"x-webhook-signature": given}) is None


def test_a_strict_prefix_is_required() -> None:
    """Where the method may change in future, another or no method is refused."""
    strict = HmacHex(("x-hub-signature",), strict=True)
    assert reason(strict, {"x-hub-signature": f"sha256={GITHUB}"}) is None
    assert reason(strict, {"x-hub-signature": GITHUB}) == "bad_signature"
    assert reason(strict, {"x-hub-signature": f"sha1={GITHUB}"}) == "bad_signature"


@pytest.mark.parametrize("given", ["", "sha256=", GITHUB[:-1], GITHUB[:-1] + "8", "ü", "\ud800", mac(b"other")])
def test_wrong_signatures_are_bad(given: str) -> None:
    """Whatever stands in the header is an answer, never an exception."""
    assert reason(HEX, {"x-signature": given}) == "bad_signature"
    assert reason(HmacBase64("x-signature"), {"x-signature": given}) == "bad_signature"
    assert reason(PlainToken(("x-signature",)), {"x-signature": given}) == "bad_signature"
    assert reason(TimestampedHmac(("x-signature",), "x-time"), {"x-signature": given}) == "bad_signature"


def test_one_byte_of_the_body_decides() -> None:
    """The raw bytes are signed, white space too."""
    assert reason(HEX, {"x-signature": GITHUB}, BODY + b" ") == "bad_signature"
    assert reason(HEX, {"x-signature": GITHUB}, secret="another") == "bad_signature"


@pytest.mark.parametrize("scheme", [HEX, HmacBase64("x-signature"), PlainToken(("x-signature",)), TIMED])
def test_no_header_is_said_so(scheme: Signature) -> None:
    """Another vendor's header does not count."""
    assert reason(scheme, {"x-other": GITHUB}) == "missing_header"


def test_base64_and_plain_tokens() -> None:
    """Base64 of the same bytes, and the secret itself, whose case counts."""
    encoded = base64.b64encode(bytes.fromhex(GITHUB)).decode()
    assert reason(HmacBase64("x-sfx"), {"x-sfx": encoded}) is None
    assert reason(HmacBase64("x-sfx"), {"x-sfx": GITHUB}) == "bad_signature"
    assert reason(PlainToken(("x-token",)), {"x-token": SECRET}) is None
    assert reason(PlainToken(("x-token",)), {"x-token": SECRET.upper()}) == "bad_signature"


@pytest.mark.parametrize("offset", [-300, -1, 0, 300])
def test_a_signed_time_near_ours_is_fresh(offset: int) -> None:
    """300 seconds either way are allowed."""
    stamp = str(NOW + offset)
    assert reason(TIMED, {"x-sig": mac(stamp.encode() + b":" + BODY), "x-time": stamp}) is None


@pytest.mark.parametrize("stamp", [str(NOW - 301), str(NOW + 301), "soon", "", "-1", "9" * 40, "١٢٣"])
def test_a_signed_time_that_is_not_is_stale(stamp: str) -> None:
    """So is one that is no time, even when its signature is right."""
    assert reason(TIMED, {"x-sig": mac(stamp.encode() + b":" + BODY), "x-time": stamp}) == "stale_timestamp"


def test_a_time_can_be_neither_added_nor_taken_away() -> None:
    """Without the header the body alone is signed; a signature of one kind is not one of the other."""
    stamp = str(NOW)
    assert reason(TIMED, {"x-sig": GITHUB}) is None
    assert reason(TIMED, {"x-sig": GITHUB, "x-time": stamp}) == "bad_signature"
    assert reason(TIMED, {"x-sig": mac(stamp.encode() + b":" + BODY)}) == "bad_signature"


def test_a_certificate_is_checked_by_its_vendors_rules() -> None:
    """The scheme reads the message, which checks itself; the secret is the certificate. No message is not signed."""

    class Message:
        topic, confirms, certificate_url = "ops", False, None

        def signed_with(self, pem: str) -> bool:
            return pem == "PEM"

    scheme = SnsCertificate(lambda body: Message() if body == BODY else None)
    assert reason(scheme, {}, secret="PEM") is None
    assert reason(scheme, {}, secret="other") == "bad_signature"
    assert verify(SnsCertificate(lambda body: None), "PEM", {}.get, BODY, NOW) == "bad_signature"


@pytest.mark.parametrize("now", [None, float(NOW)])
@pytest.mark.parametrize(
    "scheme",
    [HEX, HmacHex(("x-sig",), strict=True), HmacBase64("x-sig"), TIMED, PlainToken(("x-token",)), GENERAL],
)
def test_what_we_sign_holds(scheme: Signature, now: float | None) -> None:
    """`sign` makes what `verify` takes, of this body and secret only, with a time or for ever."""
    headers = sign(scheme, SECRET, BODY, now)
    assert reason(scheme, headers) is None
    assert reason(scheme, headers, secret="another secret") == "bad_signature"
    if isinstance(scheme, TimestampedHmac):
        assert len(headers) == (1 if now is None else 2)
        if now is not None:
            assert verify(scheme, SECRET, headers.get, BODY, now + 3600) == "stale_timestamp"


@pytest.mark.parametrize(
    ("scheme", "header", "layout"),
    [
        (GENERAL, "x-signature", b"%d.%b"),
        (TIMED, "x-sig", b"%d:%b"),
        (HEX, "x-signature", b"%d.%b"),
    ],
)
def test_what_was_signed_with_a_time_never_counts_without_it(scheme: Signature, header: str, layout: bytes) -> None:
    """A captured signature over time and body does not verify those same bytes as a body, under any scheme."""
    for body in (b"a=1&b=2", b'{"a":1}', b""):
        signed = layout % (NOW, body)
        assert reason(scheme, {header: mac(signed)}, signed) in ("missing_header", "bad_signature")
        assert reason(scheme, {header: mac(b" " + signed)}, b" " + signed) in ("missing_header", "bad_signature")
    assert reason(scheme, {header: mac(BODY)}) is None
    base64_mac = base64.b64encode(hmac.digest(SECRET.encode(), b"%d.a=1" % NOW, sha256)).decode()
    assert reason(HmacBase64("x-sig"), {"x-sig": base64_mac}, b"%d.a=1" % NOW) == "bad_signature"
