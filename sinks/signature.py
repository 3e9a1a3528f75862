"""Signatures of webhooks, made and checked over the raw body.

Two schemes travel together, so a receiver takes the one it knows: Standard Webhooks 1.0
(https://www.standardwebhooks.com: `webhook-signature: v1,<base64>` over `id.timestamp.body`, which also
stops replays) and the seeds' `X-Webhook-Signature: sha256=<hex>` over the body alone.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping

from schemas.signature import StandardWebhooks, signing_key
from schemas.signature import verify as check


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
    return check(StandardWebhooks(), secret, headers.get, body, now) is None


def _digest(key: bytes, message_id: str, timestamp: int, body: bytes) -> bytes:
    text = f"{message_id}.{timestamp}.".encode("utf-8", "surrogateescape")
    return hmac.new(key, text + body, hashlib.sha256).digest()
