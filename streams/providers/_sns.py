"""Amazon SNS over HTTP (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).

Signatures and URLs of its envelopes. Nothing here touches the network: other code fetches certificates and confirms
subscriptions, with a URL that was checked here.
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

# The whole URL is matched, so it has no port, user or second host that parsers could read differently.
_HOST = r"https://sns\.[a-z]{2}[a-z0-9-]{2,30}\.amazonaws\.com(?:\.cn)?/"
_CERTIFICATE_URL = re.compile(_HOST + r"[A-Za-z0-9._-]{1,200}\.pem")
_SUBSCRIBE_URL = re.compile(_HOST + r"\?(?P<query>[!-\[\]-~]{1,2000})")

_HASHES: dict[str, type[HashAlgorithm]] = {"1": SHA1, "2": SHA256}
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
#: The fields that are signed, by the envelope's type. AWS's validators and its documentation disagree about the last.
_SIGNED: dict[str, tuple[tuple[str, ...], ...]] = {
    "Notification": (_NOTIFICATION,),
    "SubscriptionConfirmation": (_CONFIRMATION,),
    "UnsubscribeConfirmation": (
        _CONFIRMATION,
        ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "TopicArn", "Type"),
    ),
}


def subscribe_url(envelope: Fields) -> str:
    """The URL that confirms a subscription. Raises BadBody for a URL that does something else."""
    url = envelope.get("SubscribeURL")
    found = _SUBSCRIBE_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or parse_qs(found["query"]).get("Action") != ["ConfirmSubscription"]:
        raise BadBody("SubscribeURL", "does not confirm a subscription at Amazon SNS")
    return found[0]


class Envelope:
    """One message of SNS as it came over HTTP: a streams.policy.signature.SignedMessage."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._type = fields.text("Type")
        self.topic = fields.text("TopicArn")
        self.confirms = self._type == "SubscriptionConfirmation"

    @property
    def certificate_url(self) -> str | None:
        """The URL of the certificate that the message names, None if it is not one of Amazon SNS's."""
        url = self._fields.get("SigningCertURL")
        return url if isinstance(url, str) and _CERTIFICATE_URL.fullmatch(url) else None

    def signed_with(self, pem: str) -> bool:
        """Whether the key of this certificate signed the message, under version 1 (SHA-1) or 2 (SHA-256)."""
        algorithm = _HASHES.get(self._fields.text("SignatureVersion"))
        if algorithm is None or self.certificate_url is None:
            return False
        try:
            key = _public_key(pem)
            signature = b64decode(self._fields.text("Signature"), validate=True)
        except ValueError:
            return False
        return key is not None and any(
            _verified(key, signature, text, algorithm())
            for names in _SIGNED[self._type]
            if (text := self._signed_text(names)) is not None
        )

    def _signed_text(self, names: tuple[str, ...]) -> bytes | None:
        """The text that is signed; None if one of its fields is not a text."""
        given = {name: value for name in names if (value := self._fields.get(name)) is not None}
        if not all(isinstance(value, str) for value in given.values()):
            return None
        return "".join(f"{name}\n{value}\n" for name, value in given.items()).encode()


def read(body: bytes) -> Envelope | None:
    """The SNS message in a body. None for anything else, for example a bare message (raw message delivery)."""
    try:
        value, _ = read_json(body)
    except BadBody:
        return None
    fields = Fields(value if isinstance(value, dict) else {})
    return Envelope(fields) if fields.text("Type") in _SIGNED else None


def _verified(key: RSAPublicKey, signature: bytes, text: bytes, algorithm: HashAlgorithm) -> bool:
    try:
        key.verify(signature, text, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _public_key(pem: str) -> RSAPublicKey | None:
    key = load_pem_x509_certificate(pem.encode()).public_key()
    return key if isinstance(key, RSAPublicKey) else None
