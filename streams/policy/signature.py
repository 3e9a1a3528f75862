"""How senders prove who they are: the schemes as values, and the one function that checks them.

Signatures cover the bytes of the body as they were sent: the vendors sign what they put on the wire, and a compressed
body need not be inflated for a sender who cannot sign. Comparisons take constant time.
"""

import binascii
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

from schemas.wire.standard_webhooks import signature, signing_key

#: A request's header by its lower-case name, None when it was not sent.
Header = Callable[[str], str | None]
Reason = Literal["missing_header", "bad_signature", "stale_timestamp"]
#: How far a signed time may be from ours, either way, in seconds.
TIMESTAMP_WINDOW_S = 300
#: The beginning of bytes that are signed with a time (the layouts below). A body that begins like this is accepted only
#: with a time header: otherwise an attacker who has seen a signature over `<seconds>.<body>` could replay those bytes
#: as a body without a time, any number of times.
_TIMED = re.compile(rb"\s*(?:v0:)?[0-9]+[.:]")
#: A rotation needs two signatures; signatures beyond this number are not read.
MAX_SIGNATURES = 8


@dataclass(frozen=True, slots=True)
class HmacHex:
    """HMAC-SHA256 of the body in hexadecimal of any case, bare or after `prefix`, in the first of `headers` sent.

    With `strict` the prefix is required.
    """

    headers: tuple[str, ...]
    prefix: str = "sha256="
    strict: bool = False


@dataclass(frozen=True, slots=True)
class HmacBase64:
    """HMAC-SHA256 of the body in standard base64."""

    header: str


@dataclass(frozen=True, slots=True)
class TimestampedHmac:
    """HMAC-SHA256 in hexadecimal, bare or after `prefix`, of a time and the body, or of the body alone without a time.

    The time, in Unix seconds, is in a header of its own; `layout` makes the signed bytes from its text and the body.
    A signature made with a time is never accepted without it.
    If the time is `required`, a request without that header is rejected.
    """

    headers: tuple[str, ...]
    timestamp_header: str
    layout: bytes = b"%b:%b"
    prefix: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class StandardWebhooks:
    """`webhook-signature`: HMAC-SHA256 in base64 of `id.timestamp.body`; one valid signature of several suffices.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    @property
    def headers(self) -> tuple[str, ...]:
        """The header of the signature."""
        return ("webhook-signature",)


@dataclass(frozen=True, slots=True)
class PlainToken:
    """The secret itself, in the first of these headers that was sent."""

    headers: tuple[str, ...]


class SignedMessage(Protocol):
    """A message that has its signature inside. `topic` is the topic that the message says it was published to."""

    @property
    def topic(self) -> str: ...

    @property
    def confirms(self) -> bool:
        """Whether acting on the message creates a subscription, which only its vendor may ask for."""

    @property
    def certificate_url(self) -> str | None:
        """The address of the signer's certificate, None if it is not one of the vendor's."""

    def signed_with(self, pem: str) -> bool:
        """Whether the key of this certificate (PEM) signed it. Raises nothing."""


@dataclass(frozen=True, slots=True)
class SnsCertificate:
    """A signature inside the body, made with the key of a certificate that the message names by its address.

    `read(body)` is the message, None for a body that is not a message and so is not signed. If there is a secret, it
    is the certificate itself in PEM, and nothing is fetched.
    """

    read: Callable[[bytes], SignedMessage | None]


@dataclass(frozen=True, slots=True)
class FirstSent:
    """The first of these schemes whose signature was sent."""

    schemes: tuple[TimestampedHmac | StandardWebhooks, ...]


Signature = HmacHex | HmacBase64 | TimestampedHmac | StandardWebhooks | PlainToken | SnsCertificate | FirstSent

#: For senders whose vendor has no signature of its own. With `X-Timestamp` no request can be replayed.
GENERAL = FirstSent(
    (
        StandardWebhooks(),
        TimestampedHmac(("x-signature", "x-webhook-signature"), "x-timestamp", layout=b"%b.%b", prefix="sha256="),
    )
)
#: https://docs.slack.dev/authentication/verifying-requests-from-slack
SLACK = TimestampedHmac(
    ("x-slack-signature",), "x-slack-request-timestamp", layout=b"v0:%b:%b", prefix="v0=", required=True
)


def verify(scheme: Signature, secret: str, header: Header, body: bytes, now: float) -> Reason | None:
    """Why a request is not from the holder of `secret`, None when it is. `now` is Unix seconds."""
    match scheme:
        case SnsCertificate(read):
            message = read(body)
            return None if message is not None and message.signed_with(secret) else "bad_signature"
        case HmacBase64(name):
            given = header(name)
            if given is None:
                return "missing_header"
            if _TIMED.match(body):
                return "bad_signature"
            wanted = binascii.b2a_base64(_mac(secret, body), newline=False)
            return None if _same(given.strip(), wanted) else "bad_signature"
        case PlainToken(names):
            given = _first(header, names)
            if given is None:
                return "missing_header"
            return None if _same(given, secret.encode()) else "bad_signature"
        case HmacHex(names, prefix, strict):
            given = _first(header, names)
            if given is None:
                return "missing_header"
            given = given.strip()
            if (strict and not given.startswith(prefix)) or _TIMED.match(body):
                return "bad_signature"
            return _hex_reason(given.lower().removeprefix(prefix), secret, body)
        case TimestampedHmac(names, timestamp_header, layout, prefix, required):
            given, stamp = _first(header, names), header(timestamp_header)
            if given is None or (required and stamp is None):
                return "missing_header"
            if stamp is None and _TIMED.match(body):
                return "missing_header"
            signed = body if stamp is None else layout % (_bytes(stamp), body)
            reason = _hex_reason(given.strip().lower().removeprefix(prefix), secret, signed)
            return reason if stamp is None else reason or _staleness(stamp, now)
        case StandardWebhooks():
            return _standard(secret, header, body, now)
        case FirstSent(schemes):
            chosen = _sent(schemes, header)
            return "missing_header" if chosen is None else verify(chosen, secret, header, body, now)


def sign(scheme: Signature, secret: str, body: bytes, now: float | None = None) -> dict[str, str]:
    """The headers with which `verify` accepts a body; empty if only the vendor can sign, inside the body.

    With `now`, Unix seconds, a scheme with times makes headers that are valid around that time, once; without `now`
    the headers are valid for ever.
    """
    match scheme:
        case HmacHex(names, prefix):
            return {names[0]: prefix + _mac(secret, body).hex()}
        case HmacBase64(name):
            return {name: binascii.b2a_base64(_mac(secret, body), newline=False).decode()}
        case TimestampedHmac(names, _, _, prefix) if now is None:
            return {names[0]: prefix + _mac(secret, body).hex()}
        case TimestampedHmac(names, timestamp_header, layout, prefix):
            stamp = str(int(now or 0))
            return {names[0]: prefix + _mac(secret, layout % (stamp.encode(), body)).hex(), timestamp_header: stamp}
        case FirstSent(schemes):
            return sign(schemes[-1], secret, body, now)
        case PlainToken(names):
            return {names[0]: secret}
        case SnsCertificate() | StandardWebhooks():
            return {}


def mark(scheme: Signature, header: Header) -> str:
    """A mark that every copy of one signed request has, and no other request of its sender.

    It is "" if no time is signed: such a request may legitimately come twice. Call this only after `verify`.
    """
    match scheme:
        case TimestampedHmac(names, timestamp_header, _, prefix):
            timed = header(timestamp_header) is not None
            return (_first(header, names) or "").strip().lower().removeprefix(prefix) if timed else ""
        case StandardWebhooks():
            return f"{header('webhook-id')}.{header('webhook-timestamp')}"
        case FirstSent(schemes):
            chosen = _sent(schemes, header)
            return "" if chosen is None else mark(chosen, header)
        case _:
            return ""


def _standard(secret: str, header: Header, body: bytes, now: float) -> Reason | None:
    given, message_id, stamp = header("webhook-signature"), header("webhook-id"), header("webhook-timestamp")
    if message_id is None or stamp is None or given is None:
        return "missing_header"
    try:
        key = signing_key(secret)
    except ValueError:
        return "bad_signature"
    wanted = signature(key, message_id, stamp, body)
    # There may be several: during a rotation a sender signs with the old and the new secret.
    found = [_same(signature, wanted) for signature in given.split()[:MAX_SIGNATURES]]
    return _staleness(stamp, now) if any(found) else "bad_signature"


def _sent(schemes: tuple[TimestampedHmac | StandardWebhooks, ...], header: Header) -> Signature | None:
    return next((each for each in schemes if _first(header, each.headers) is not None), None)


def _first(header: Header, names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := header(name)) is not None), None)


def _mac(secret: str, signed: bytes) -> bytes:
    return hmac.digest(secret.encode(), signed, sha256)


def _hex_reason(given: str, secret: str, signed: bytes) -> Reason | None:
    return None if _same(given, _mac(secret, signed).hex().encode()) else "bad_signature"


def _same(given: str, wanted: bytes) -> bool:
    return hmac.compare_digest(_bytes(given), wanted)


def _staleness(stamp: str, now: float) -> Reason | None:
    """Why a signed time is not fresh, None if it is; a text that is not a number of seconds is stale."""
    seconds = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 12 else 0
    return None if abs(now - seconds) <= TIMESTAMP_WINDOW_S else "stale_timestamp"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
