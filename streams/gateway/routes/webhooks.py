"""Webhooks in a provider's own format: at the integration's URL, or at the tenant's URL with an API key."""

from collections.abc import Sequence
from typing import Any

from schemas.control import SignaturePolicy
from schemas.wire.verdict import Verdict
from streams.gateway import answers
from streams.gateway.answers import UNAUTHORIZED, WRONG_TYPE, Answer, Refusal
from streams.gateway.auth import Directory, Proof, integration_id
from streams.gateway.routes.route import Request, Route
from streams.gateway.senders import ApiSender, Sender
from streams.gateway.verdicts import BUDGET_S
from streams.policy.signature import SnsCertificate, TimestampedHmac
from streams.providers import Provider

TENANTS = "/v1/webhooks/"
WEBHOOK_SIGNATURE = TimestampedHmac(("x-webhook-signature",), "x-timestamp", layout=b"%b.%b", prefix="sha256=")


class IntegrationWebhook(Route):
    """`/api/integrations/{slug}?integrationId=<key>`: the URL is the credential."""

    def __init__(self, provider: Provider[Any], directory: Directory) -> None:
        super().__init__(provider, directory)
        if isinstance(self._scheme, SnsCertificate):
            self.certificate = self._scheme

    def identify(self, request: Request) -> Sender:
        """The integration of the key, which must be of this provider."""
        found = self._directory.integration(integration_id(request.scope.query_string))
        if found.type != self.provider.slug:
            raise Refusal(WRONG_TYPE, found)
        return found


class TenantWebhook(Route):
    """`/v1/webhooks/{tenant}/{slug}`: an API key of the tenant in `X-API-Key`, and `X-Webhook-Signature`.

    The signature is HMAC-SHA256 of the body with the API key's webhook secret or the secret of the tenant's integration
    of this provider; the vendor's own signature with the latter is accepted as well. A duplicate is answered with 409.
    """

    wait = BUDGET_S

    def __init__(self, provider: Provider[Any], directory: Directory) -> None:
        super().__init__(provider, directory)
        self.policy: SignaturePolicy = "required" if provider.can_sign else "off"

    def identify(self, request: Request) -> Sender:
        """The API key's sender of this provider. An unknown tenant and a wrong key get the same answer."""
        key = request.header("x-api-key")
        if not key:
            raise Refusal(UNAUTHORIZED)
        tenant = request.scope.path[len(TENANTS) :].partition("/")[0]
        return self._directory.sender_for(self._directory.api_key(key, tenant), self.provider.slug)

    def proofs(self, sender: Sender) -> Sequence[Proof]:
        """The API key's webhook secret, then the integration's."""
        assert isinstance(sender, ApiSender)
        found: list[Proof] = []
        if sender.key.webhook_secret is not None:
            found.append((WEBHOOK_SIGNATURE, sender.key.webhook_secret))
        if (secret := sender.signature_secret) is not None:
            found.append((self._scheme, secret))
            if not isinstance(self._scheme, SnsCertificate):  # a certificate is public: anyone could sign with it
                found.append((WEBHOOK_SIGNATURE, secret))
        return found

    def judged(self, answer: Answer, verdict: Verdict) -> Answer:
        """409 for a duplicate, which is stored and counted like any alert."""
        return answers.duplicate(verdict) if verdict.deduplicated else super().judged(answer, verdict)
