"""Amazon SNS for tests: messages signed as it documents, and the two addresses of it that are visited.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from sinks.outbound import Answer, ErrorCode

HOST = "sns.eu-north-1.amazonaws.com"
TOPIC = "arn:aws:sns:eu-north-1:210987654321:ops"
CERTIFICATE_URL = f"https://{HOST}/SimpleNotificationService-1f.pem"
SUBSCRIBE_URL = f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=77"
NOTIFICATION = {"Type": "Notification", "MessageId": "5", "TopicArn": TOPIC, "Message": "m", "Timestamp": "2026"}
CONFIRMATION = {**NOTIFICATION, "Type": "SubscriptionConfirmation", "SubscribeURL": SUBSCRIBE_URL, "Token": "77"}

#: What is signed, in order.
NAMES = "Message MessageId Timestamp TopicArn Type"
WITH_SUBJECT = "Message MessageId Subject Timestamp TopicArn Type"
CONFIRMING = "Message MessageId SubscribeURL Timestamp Token TopicArn Type"

_HASHES: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}


@lru_cache
def rsa_key() -> rsa.RSAPrivateKey:
    """The key that signs for SNS in these tests."""
    return rsa.generate_private_key(65537, 2048)


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """A self-signed certificate of a key, in PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=365))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def signed(envelope: dict[str, str], version: str, names: str, **changed: Any) -> bytes:
    """The envelope, signed over these names, and changed afterwards."""
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names.split())
    signature = rsa_key().sign(text.encode(), padding.PKCS1v15(), _HASHES[version])
    given = {"SigningCertURL": CERTIFICATE_URL, "SignatureVersion": version}
    return json.dumps(
        {**envelope, **given, "Signature": base64.b64encode(signature).decode(), **changed}, indent=1
    ).encode()


class Amazon:
    """What answers at SNS's addresses, and nothing anywhere else. `away`: how many requests get no answer first."""

    def __init__(self, pem: str | None = None) -> None:
        self.away = 0
        self.visited: list[str] = []
        self._pem = certificate(rsa_key()) if pem is None else pem
        self._tokens = {(TOPIC, "77")}

    async def get(self, url: str) -> Answer:
        """A certificate, or the confirmation of a subscription that was asked for: 200; else 403, 400."""
        self.visited.append(url)
        if self.away:
            self.away -= 1
            return Answer(0, error_code=ErrorCode.TIMEOUT)
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("https", HOST)
        if url == CERTIFICATE_URL:
            return Answer(200, body=self._pem.encode())
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if (parts.path, query.get("Action")) != ("/", "ConfirmSubscription"):
            return Answer(403, body=b"<Error/>")
        if (query.get("TopicArn"), query.get("Token")) not in self._tokens:
            return Answer(400, body=b"<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>")
        return Answer(200, body=b"<ConfirmSubscriptionResponse/>")
