"""How senders prove themselves: the schemes as values, and the one function that checks them.

Everything is over the raw bytes of the body and compared in constant time.
"""

import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

#: A request's header by its lower-case name, None when it was not sent.
Header = Callable[[str], str | None]
Reason = Literal["missing_header", "bad_signature", "stale_timestamp"]
#: How far a signed time may be from ours, either way, in seconds.
TIMESTAMP_WINDOW_S = 300


@dataclass(frozen=True, slots=True)
class HmacHex:
    """HMAC-SHA256 of the body in hexadecimal of any case, bare or after `prefix`, in the first header sent.

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
    """HMAC-SHA256 in hexadecimal of `<Unix seconds>:<body>` when the time's header was sent, else of the body."""

    headers: tuple[str, ...]
    timestamp_header: str


@dataclass(frozen=True, slots=True)
class PlainToken:
    """The secret itself, in the first of these headers that was sent."""

    headers: tuple[str, ...]


class SignedMessage(Protocol):
    """A message that has its signature inside. `topic` is where it was published, as it says itself."""

    @property
    def topic(self) -> str: ...

    @property
    def confirms(self) -> bool:
        """Whether acting on it makes a subscription, which nobody but its vendor may ask for."""

    @property
    def certificate_url(self) -> str | None:
        """The address of the signer's certificate, None if it is not one of the vendor's."""

    def signed_with(self, pem: str) -> bool:
        """Whether the key of this certificate (PEM) signed it. Raises nothing."""


@dataclass(frozen=True, slots=True)
class SnsCertificate:
    """A signature inside the body, made with the key of a certificate that the message names by its address.

    `read(body)` is the message, None for a body that is none and so is not signed. A secret, where there is
    one, is the certificate itself in PEM: nothing is fetched then.
    """

    read: Callable[[bytes], SignedMessage | None]

Signature = HmacHex | HmacBase64 | TimestampedHmac | PlainToken | SnsCertificate
#: Of a sender whose vendor has no signature of its own.
GENERAL = HmacHex(("x-signature", "x-webhook-signature", "x-hub-signature-256"))


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
            if strict and not given.startswith(prefix):
                return "bad_signature"
            return _hex_reason(given.lower().removeprefix(prefix), secret, body)
        case TimestampedHmac(names, timestamp_header):
            given = _first(header, names)
            if given is None:
                return "missing_header"
            stamp = header(timestamp_header)
            signed = body if stamp is None else b"%b:%b" % (stamp.encode("utf-8", "surrogatepass"), body)
            reason = _hex_reason(given.strip().lower(), secret, signed)
            if reason is None and stamp is not None and not _fresh(stamp, now):
                return "stale_timestamp"
            return reason


def _first(header: Header, names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := header(name)) is not None), None)


def _mac(secret: str, signed: bytes) -> bytes:
    return hmac.digest(secret.encode(), signed, sha256)


def _hex_reason(given: str, secret: str, signed: bytes) -> Reason | None:
    return None if _same(given, _mac(secret, signed).hex().encode()) else "bad_signature"


def _same(given: str, wanted: bytes) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted)


def _fresh(stamp: str, now: float) -> bool:
    return stamp.isascii() and stamp.isdigit() and len(stamp) < 12 and abs(now - int(stamp)) <= TIMESTAMP_WINDOW_S
