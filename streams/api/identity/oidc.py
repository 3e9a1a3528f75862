"""Logging in by an identity provider: OpenID Connect Core 1.0, the authorization code flow with PKCE (RFC 7636).

Tokens are verified by joserfc. Requests to the provider go through the guarded client (sinks.outbound): to https, or
into an allowed network.
"""

import base64
import secrets
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from schemas.settings import Settings
from sinks.outbound import Answer, Outbound

#: Signatures by a key that the provider alone has; neither `none`, nor those by a shared secret.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
#: Seconds by which the clocks of provider and Stormweir may differ.
_LEEWAY_S = 60
#: After so many seconds the provider's description and keys are fetched again; keys also for a token of an unknown one,
#: at most once in so many seconds.
_KNOWN_S = 3600.0
_RETRY_S = 30.0


class OidcError(Exception):
    """Nobody is logged in; the message is for people, and quotes nothing of the provider's answer."""


class Attempt(NamedTuple):
    """What a browser keeps between leaving for the provider and coming back, all random."""

    state: str
    nonce: str
    verifier: str


class Oidc:
    """The provider of the settings. `redirect_uri` is where it sends browsers back to."""

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self.title = urlsplit(settings.oidc_issuer).hostname or settings.oidc_issuer
        self.issuer = settings.oidc_issuer
        self.redirect_uri = f"{settings.console_address}/api/v1/oidc/callback"
        self._client_id = settings.oidc_client_id
        self._client_secret = settings.oidc_client_secret
        self._outbound = outbound
        self._metadata: dict[str, Any] = {}
        self._metadata_at = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0

    async def start(self) -> tuple[str, Attempt]:
        """Where to send the browser, and what it keeps. Raises OidcError."""
        attempt = Attempt(*(secrets.token_urlsafe(32) for _ in Attempt._fields))
        challenge = base64.urlsafe_b64encode(sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
        endpoint = await self._endpoint("authorization_endpoint")
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid profile email",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}", attempt

    async def finish(self, answer: Mapping[str, str], attempt: Attempt) -> dict[str, Any]:
        """What the provider claims of the person, for its `answer` (its query's fields). Raises OidcError."""
        if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise OidcError("this is no answer to a login that this browser began")
        if "error" in answer:
            raise OidcError("the identity provider refused the login")
        if answer.get("iss", self.issuer) != self.issuer:  # RFC 9207
            raise OidcError("another identity provider answered")
        granted = await self._exchange(answer.get("code", ""), attempt.verifier)
        if not isinstance(token := granted.get("id_token"), str):
            raise OidcError("the identity provider gave no ID token")
        claims = await self._claims(token, attempt.nonce)
        return {**await self._told(granted.get("access_token"), claims["sub"]), **claims}

    async def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        """The tokens for the code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        endpoint = await self._endpoint("token_endpoint")
        methods = self._metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._client_secret and "client_secret_basic" in methods:
            # RFC 6749, 2.3.1: both are form-encoded first.
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        else:
            form["client_id"] = self._client_id
            if self._client_secret:
                form["client_secret"] = self._client_secret
        return _object(await self._outbound.post(endpoint, urlencode(form).encode(), headers), "a token")

    async def _told(self, access_token: object, subject: str) -> dict[str, Any]:
        """What the provider tells of the person beside the ID token (OpenID Connect Core 1.0, 5.3), if anything."""
        if not isinstance(access_token, str) or "userinfo_endpoint" not in self._metadata:
            return {}
        endpoint = await self._endpoint("userinfo_endpoint")
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        found = _object(await self._outbound.get(endpoint, headers), "the person's names")
        if found.get("sub") != subject:
            raise OidcError("the identity provider told of somebody else")
        return found

    async def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """The token's claims, once verified as OpenID Connect Core 1.0, 3.1.3.7, says."""
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            claims = (await self._verified(token)).claims
            registry.validate(claims)
        except (JoseError, ValueError) as error:
            raise OidcError(f"the identity provider's ID token is not valid ({type(error).__name__})") from None
        if claims.get("azp", self._client_id) != self._client_id or not isinstance(claims["sub"], str):
            raise OidcError("the identity provider's ID token is for somebody else")
        return claims

    async def _verified(self, token: str) -> jwt.Token:
        try:
            return jwt.decode(token, await self._key_set(_KNOWN_S), algorithms=_ALGORITHMS)
        except JoseError:
            # The provider may have new keys.
            if time.monotonic() - self._keys_at < _RETRY_S:
                raise
            return jwt.decode(token, await self._key_set(_RETRY_S), algorithms=_ALGORITHMS)

    async def _key_set(self, known_s: float) -> KeySet:
        if self._keys is None or time.monotonic() - self._keys_at >= known_s:
            found = _object(await self._outbound.get(await self._endpoint("jwks_uri")), "its keys")
            try:
                self._keys = KeySet.import_key_set({"keys": found["keys"]})
            except (JoseError, KeyError, TypeError, ValueError):
                raise OidcError("the identity provider's keys cannot be read") from None
            self._keys_at = time.monotonic()
        return self._keys

    async def _endpoint(self, name: str) -> str:
        if not self._metadata or time.monotonic() - self._metadata_at >= _KNOWN_S:
            address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = _object(await self._outbound.get(address), "its description")
            # OpenID Connect Discovery 1.0, 4.3: else one provider could speak for another.
            if found.get("issuer") != self.issuer:
                raise OidcError("the identity provider calls itself another than STORMWEIR_OIDC_ISSUER")
            self._metadata, self._metadata_at = found, time.monotonic()
        if not isinstance(endpoint := self._metadata.get(name), str):
            raise OidcError(f"the identity provider has no {name}")
        return endpoint


def _object(answer: Answer, what: str) -> dict[str, Any]:
    if answer.status != 200:
        why = answer.error_code or answer.status
        raise OidcError(f"the identity provider did not give {what} ({why})")
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise OidcError(f"the identity provider did not give {what} as JSON")
    return found
