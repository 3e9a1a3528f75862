"""Amazon SNS over HTTP (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).

Signatures and addresses of its envelopes. Nothing here touches the network: who fetches a certificate or
confirms a subscription does so elsewhere, with a URL that was checked here.
"""

import re
from base64 import b64decode
from functools import lru_cache
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from streams.providers._contract import BadBody
from streams.providers._fields import Fields, read_json

# The whole address is matched, so there is no port, user or second host to disagree about.
_HOST = r"https://sns\.[a-z]{2}[a-z0-9-]{2,30}\.amazonaws\.com(?:\.cn)?/"
_CERTIFICATE_URL = re.compile(_HOST + r"[A-Za-z0-9._-]{1,200}\.pem")
_SUBSCRIBE_URL = re.compile(_HOST + r"\?(?P<query>[!-\[\]-~]{1,2000})")

_HASHES: dict[str, type[HashAlgorithm]] = {"1": SHA1, "2": SHA256}
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
#: What is signed, by the envelope's type. AWS's validators and its documentation disagree about the last.
_SIGNED: dict[str, tuple[tuple[str, ...], ...]] = {
    "Notification": (_NOTIFICATION,),
    "SubscriptionConfirmation": (_CONFIRMATION,),
    "UnsubscribeConfirmation": (
        _CONFIRMATION,
        ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "TopicArn", "Type"),
    ),
}


def certificate_url(envelope: Fields) -> str | None:
    """The address of the certificate that an envelope names, None if it is not one of Amazon SNS's."""
    url = envelope.get("SigningCertURL")
    return url if isinstance(url, str) and _CERTIFICATE_URL.fullmatch(url) else None


def subscribe_url(envelope: Fields) -> str:
    """The address that confirms a subscription. Raises BadBody for any that does something else."""
    url = envelope.get("SubscribeURL")
    found = _SUBSCRIBE_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or parse_qs(found["query"]).get("Action") != ["ConfirmSubscription"]:
        raise BadBody("SubscribeURL", "does not confirm a subscription at Amazon SNS")
    return found[0]


def valid(pem: str, body: bytes) -> bool:
    """Whether an envelope was signed with the key of this certificate (PEM). Versions 1 (SHA-1) and 2 (SHA-256)."""
    try:
        value, _ = read_json(body)
        key = _public_key(pem)
    except ValueError:
        return False
    envelope = Fields(value if isinstance(value, dict) else {})
    algorithm = _HASHES.get(envelope.text("SignatureVersion"))
    if key is None or algorithm is None or certificate_url(envelope) is None:
        return False
    for names in _SIGNED.get(envelope.text("Type"), ()):
        try:
            signature = b64decode(envelope.text("Signature"), validate=True)
            key.verify(signature, _signed_text(envelope, names), PKCS1v15(), algorithm())
        except (InvalidSignature, ValueError):
            continue
        return True
    return False


def _signed_text(envelope: Fields, names: tuple[str, ...]) -> bytes:
    given = ((name, envelope.get(name)) for name in names)
    return "".join(f"{name}\n{value}\n" for name, value in given if isinstance(value, str)).encode()


@lru_cache(maxsize=64)
def _public_key(pem: str) -> RSAPublicKey | None:
    key = load_pem_x509_certificate(pem.encode()).public_key()
    return key if isinstance(key, RSAPublicKey) else None
