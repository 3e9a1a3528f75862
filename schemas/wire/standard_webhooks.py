"""Standard Webhooks 1.0 (https://www.standardwebhooks.com): the key in a secret, and the signature of a message."""

import binascii
import hmac
from base64 import b64decode
from hashlib import sha256

_WHSEC = "whsec_"


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    """`v1,<base64>`: HMAC-SHA256 of `id.timestamp.body`; `timestamp` is the text of whole Unix seconds."""
    signed = b"%b.%b" % (f"{message_id}.{timestamp}".encode("utf-8", "surrogatepass"), body)
    return b"v1," + binascii.b2a_base64(hmac.digest(key, signed, sha256), newline=False)


def signing_key(secret: str) -> bytes:
    """The key in a secret: `whsec_<base64>` decoded, any other secret as its UTF-8 bytes.

    Raises ValueError when the text after `whsec_` is empty or not base64.
    """
    if not secret.startswith(_WHSEC):
        return secret.encode()
    try:
        key = b64decode(secret.removeprefix(_WHSEC), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("after whsec_ base64 is needed")
    return key
