"""Senders for every way in: integrations of each provider in each state, tenants with API keys, their requests."""

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import md5, sha256
from typing import Any

from schemas.control import AnyRecord, ApiKey, Integration, Service
from streams.providers import PATH, PROVIDERS, QUERY, Provider

#: One tenant with a working integration of each provider, one whose integrations are all disabled, one without any.
ACME, PAUSED, BARE = "acme", "paused", "bare"
WEBHOOK_SECRET = "the webhook secret of a key"
UNKNOWN_KEY = "0" * 32


def key(slug: str, tenant: str = ACME) -> str:
    """The integration's key."""
    return md5(f"{tenant}/{slug}".encode(), usedforsecurity=False).hexdigest()


def api_key(tenant: str) -> str:
    """The tenant's API key, whose webhook secret is WEBHOOK_SECRET."""
    return f"api key of {tenant}"


def service(tenant: str) -> str:
    """The service of all of a tenant's integrations."""
    return f"{tenant}-service"


def records() -> Iterator[AnyRecord]:
    """The control records of all of them."""
    for tenant in (ACME, PAUSED, BARE):
        yield Service(id=service(tenant), tenant=tenant)
        digest = sha256(api_key(tenant).encode()).hexdigest()
        yield ApiKey(id=tenant, tenant=tenant, sha256=digest, webhook_secret=WEBHOOK_SECRET)
    for tenant in (ACME, PAUSED):
        for slug in PROVIDERS:
            yield Integration(
                id=key(slug, tenant),
                tenant=tenant,
                name=slug,
                type=slug,
                service=service(tenant),
                enabled=tenant == ACME,
                rate_limit="unlimited",
            )


def signature(body: bytes, secret: str = WEBHOOK_SECRET) -> str:
    """HMAC-SHA256 in hexadecimal."""
    return hmac.new(secret.encode(), body, sha256).hexdigest()


@dataclass(frozen=True)
class Way:
    """A way in: `address(tenant, credential)` gives path and headers, the credential None for none at all.

    `credential(tenant)` is the tenant's own, `body` and `headers` what its vendor sends.
    """

    name: str
    provider: Provider[Any]
    credential: Callable[[str], str]
    address: Callable[[str, str | None], tuple[str, dict[str, str]]]

    @property
    def body(self) -> bytes:
        """The provider's first example."""
        return self.provider.examples[0].body

    def request(self, tenant: str, credential: str | None, body: bytes) -> tuple[str, dict[str, str]]:
        """Path and all headers of a request with this body, which waits for no verdict: there is no worker."""
        path, headers = self.address(tenant, credential)
        vendors = {name: text for name, text in self.provider.examples[0].headers.items() if name not in (PATH, QUERY)}
        if "X-API-Key" in headers:
            headers["X-Webhook-Signature"] = signature(body)
        return path, {**vendors, **headers, "Prefer": "wait=0"}


def ways() -> list[Way]:
    """Every way in with a credential of an integration, or of a tenant that has one."""
    found = []
    for slug, provider in PROVIDERS.items():
        found.append(Way(f"/api/integrations/{slug}", provider, partial(key, slug), partial(_by_url, slug)))
        found.append(Way(f"/v1/webhooks/{{tenant}}/{slug}", provider, api_key, partial(_by_tenant, slug)))
        for path, header in provider.addresses:
            found.append(Way(path, provider, partial(key, slug), partial(_by_header, path, header)))
    opsgenie = PROVIDERS["opsgenie"]
    found.append(Way("/v2/alerts by API key", opsgenie, api_key, partial(_by_header, *opsgenie.addresses[0])))
    return found


def _by_url(slug: str, tenant: str, credential: str | None) -> tuple[str, dict[str, str]]:
    query = "" if credential is None else f"?integrationId={credential}"
    return f"/api/integrations/{slug}{query}", {}


def _by_tenant(slug: str, tenant: str, credential: str | None) -> tuple[str, dict[str, str]]:
    return f"/v1/webhooks/{tenant}/{slug}", {} if credential is None else {"X-API-Key": credential}


def _by_header(path: str, header: str, tenant: str, credential: str | None) -> tuple[str, dict[str, str]]:
    name, _, scheme = header.partition(": ")
    return path, {} if credential is None else {name: f"{scheme}{credential}"}
