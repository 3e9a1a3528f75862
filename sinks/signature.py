"""Signatures of webhooks, made and checked over the raw body.

Two schemes travel together, so a receiver takes the one it knows: Standard Webhooks 1.0
(https://www.standardwebhooks.com: `webhook-signature: v1,<base64>` over `id.timestamp.body`, which also
stops replays) and the seeds' `X-Webhook-Signature: sha256=<hex>` over the body alone.
"""

import hashlib
import hmac
from collections.abc import Mapping

from schemas.wire.standard_webhooks import signature, signing_key

#: How old or early a signature may be, seconds.
MAX_AGE_S = 300


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Both signature headers for one attempt; `timestamp` is whole seconds. Raises as `signing_key`."""
    return {
        "webhook-signature": signature(signing_key(secret), message_id, str(timestamp), body).decode(),
        "X-Webhook-Signature": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: int) -> bool:
    """Whether one of the Standard Webhooks signatures fits and is at most 300 s old or early.

    `headers` is read with lower-case names; nothing in it makes this raise. `now` is seconds.
    """
    message_id, stamp, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12 and abs(now - int(stamp)) <= MAX_AGE_S):
        return False
    try:
        wanted = signature(signing_key(secret), message_id, stamp, body)
    except ValueError:
        return False
    return any(hmac.compare_digest(each.encode("utf-8", "surrogatepass"), wanted) for each in given.split())
