"""Signatures of webhooks, made and checked over the raw body.

Every request is signed in two schemes, so a receiver can check the one it knows: Standard Webhooks 1.0
(https://www.standardwebhooks.com: `webhook-signature: v1,<base64>` over `id.timestamp.body`, which also
prevents replays) and `X-Webhook-Signature: sha256=<hex>` over the body alone.
"""

import hashlib
import hmac
from collections.abc import Mapping

from schemas.wire.standard_webhooks import signature, signing_key

#: The longest time between a signature's timestamp and now, before or after, seconds.
MAX_AGE_S = 300


def sign(secret: str, message_id: str, timestamp: int, body: bytes, previous: str | None = None) -> dict[str, str]:
    """Both signature headers for one attempt; `timestamp` is whole Unix seconds. Raises ValueError as `signing_key`.

    While a secret is changed, `webhook-signature` has one signature by `secret` and one by the `previous` secret.
    """
    secrets = [secret] if previous is None else [secret, previous]
    signed = (signature(signing_key(each), message_id, str(timestamp), body).decode() for each in secrets)
    return {
        "webhook-signature": " ".join(signed),
        "X-Webhook-Signature": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: int) -> bool:
    """Whether one of the Standard Webhooks signatures is right, and its timestamp at most 300 s before or after `now`.

    `headers` is read with lower-case names; no content of it raises an error. `now` is Unix seconds.
    """
    message_id, stamp, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12 and abs(now - int(stamp)) <= MAX_AGE_S):
        return False
    try:
        wanted = signature(signing_key(secret), message_id, stamp, body)
    except ValueError:
        return False
    return any(hmac.compare_digest(each.encode("utf-8", "surrogatepass"), wanted) for each in given.split())
