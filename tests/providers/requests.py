"""The cases as requests: each goes to an integration of its own, so that what it became is found again."""

import hmac
import http.client
from hashlib import md5, sha256
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from schemas.control import Integration, SignaturePolicy
from streams.policy.signature import SnsCertificate, TimestampedHmac
from streams.providers import PATH, PROVIDERS, QUERY
from tests.providers.payload_set import Case

#: The purpose of integrations that ask for no signature, so that mutated bodies get past it.
MUTATED = "mutated"
WEBHOOKS = "/api/integrations/"
_TIMEOUT_S = 30.0


class Request(NamedTuple):
    """What travels. `target` is path and query, names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """What the gateway answered."""

    status: int
    body: bytes


def service(case: Case) -> str:
    """All alerts of a provider are of one service, so that equal dedup keys are equal fingerprints."""
    return f"cases-{case.slug}"


def key(case: Case, purpose: str = "") -> str:
    """The key of the case's own integration for this purpose."""
    return md5(f"{case.id} {purpose}".encode(), usedforsecurity=False).hexdigest()


def integration(case: Case) -> Integration:
    """The integration a case describes; Amazon's certificate is not set but fetched."""
    secret = None if isinstance(PROVIDERS[case.slug].signature, SnsCertificate) else case.secret
    return _integration(case, "", secret, None if case.secret else "off")


def unsigned_integration(case: Case) -> Integration:
    """One like it, under the key for MUTATED, that asks for no signature."""
    return _integration(case, MUTATED, None, "off")


def _integration(case: Case, purpose: str, secret: str | None, signature: SignaturePolicy | None) -> Integration:
    return Integration(
        id=key(case, purpose),
        name=case.id,
        type=case.slug,
        service=service(case),
        signature=signature,
        signature_secret=secret,
        rate_limit="unlimited",
        mapping=case.mapping,
    )


def request(case: Case, key: str, now: float | None = None) -> Request:
    """The case with this key where its own stood; a signed time is made that of `now`, if given."""
    headers = {name: value for name, value in case.headers.items() if name not in {PATH, QUERY}}
    path, body = case.headers[PATH], case.body
    query = [pair for pair in parse_qsl(case.headers.get(QUERY, "")) if pair[0] != "integrationId"]
    if path.startswith(WEBHOOKS):
        query.insert(0, ("integrationId", key))
    elif case.credential:
        headers = {name: value.replace(case.credential, key) for name, value in headers.items()}
        body = body.replace(case.credential.encode(), key.encode())
    else:
        headers["authorization"] = f"GenieKey {key}"
    if now is not None:
        headers |= _signed_at(case, headers, now)
    return Request(case.method, f"{path}?{urlencode(query)}" if query else path, headers, body)


def _signed_at(case: Case, headers: dict[str, str], now: float) -> dict[str, str]:
    """The headers of the vendor's own signature, made afresh, where what it signs has a time."""
    scheme = PROVIDERS[case.slug].signature
    if case.secret is None or not isinstance(scheme, TimestampedHmac) or scheme.timestamp_header not in headers:
        return {}
    stamp = str(int(now))
    [name] = [name for name in scheme.headers if name in headers]
    signed = hmac.new(case.secret.encode(), stamp.encode() + b":" + case.body, sha256)
    return {scheme.timestamp_header: stamp, name: signed.hexdigest()}


def send(url: str, request: Request) -> Reply:
    """One request on a connection of its own, with no header but the given ones and those HTTP needs."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
    try:
        headers = {name: value.encode() for name, value in request.headers.items()}
        connection.request(request.method, request.target, request.body or None, headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read())
    finally:
        connection.close()
