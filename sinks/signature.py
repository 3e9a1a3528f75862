"""Signatures of webhooks, made and checked over the raw body.

Two schemes travel together, so a receiver takes the one it knows: Standard Webhooks 1.0
(https://www.standardwebhooks.com: `webhook-signature: v1,<base64>` over `id.timestamp.body`, which also
stops replays) and the seeds' `X-Webhook-Signature: sha256=<hex>` over the body alone.
"""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping

TOLERANCE_S = 300
_PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """The key of Standard Webhooks: `whsec_<base64>` decoded, any other secret as its UTF-8 bytes.

    Raises ValueError when what follows `whsec_` is not base64.
    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("after whsec_ base64 is needed")
    return key


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Both signature headers for one attempt; `timestamp` is whole seconds. Raises as `signing_key`."""
    digest = _digest(signing_key(secret), message_id, timestamp, body)
    return {
        "webhook-signature": "v1," + b64encode(digest).decode(),
        "X-Webhook-Signature": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: int) -> bool:
    """Whether one of the Standard Webhooks signatures fits and is at most 300 s old or early.

    `headers` is read with lower-case names; nothing in it makes this raise. `now` is seconds.
    """
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and abs(now - int(stamp)) <= TOLERANCE_S):
        return False
    digest = _digest(signing_key(secret), headers.get("webhook-id", ""), int(stamp), body)
    expected = b"v1," + b64encode(digest)
    given = headers.get("webhook-signature", "").encode("utf-8", "surrogateescape").split(b" ")
    # There may be several: during a rotation a sender signs with the old and the new secret.
    return any(hmac.compare_digest(expected, signature) for signature in given)


def _digest(key: bytes, message_id: str, timestamp: int, body: bytes) -> bytes:
    text = f"{message_id}.{timestamp}.".encode("utf-8", "surrogateescape")
    return hmac.new(key, text + body, hashlib.sha256).digest()
