"""Bodies of authenticated requests that no provider could read: kept for inspection, and for replay after a fix.

Bounded per sender and time, in size, and in number; credentials are masked.
"""

import re
import time
from collections.abc import Container, Mapping

from prometheus_client import Counter

from schemas.control import shown_sender
from schemas.fingerprint import digest
from schemas.wire.rejection import MAX_KEPT, RejectedBody
from streams.gateway.auth import KEY_LENGTH, key_and_rest
from streams.gateway.limits import Buckets
from streams.gateway.routes import Request, Route
from streams.providers import BadBody

#: Kept bodies of one sender in each minute, in this process, and of all senders in each second.
KEPT_A_MINUTE = 10
MAX_WAITING = 100
MASK = b"***"

_WORDS = (
    r"authorization|cookie|passw(?:or)?d|secret|token|signature|credential|(?:api|routing|integration|service)[-_]?key"
)
_HEADER = re.compile(_WORDS, re.IGNORECASE)
#: A member of a JSON object, and a field of a form or of a URL, whose name says that its value is a credential.
_MEMBER = re.compile(
    rb'("[^"\\]{0,60}(?:%b)[^"\\]{0,60}"\s*:\s*")(?:[^"\\]|\\.)*' % _WORDS.encode(), re.IGNORECASE | re.DOTALL
)
_FIELD = re.compile(
    rb"((?:^|[?&\s])[\w.-]{0,60}(?:%b|integrationId)[\w.-]{0,60}=)[^&\s\"'<]*" % _WORDS.encode(), re.IGNORECASE
)
#: Text that looks like an integration's key, at any place.
_KEY = re.compile(rb"(?<![0-9A-Za-z])[0-9a-f]{32}(?![0-9A-Za-z])")

_DROPPED = Counter("stormweir_rejected_bodies_dropped_total", "Unreadable bodies that were not kept, beyond the bounds")


class Keeper:
    """Collects bodies to keep; `take` returns them. Bodies beyond the bounds are only counted."""

    def __init__(self) -> None:
        self._waiting: list[RejectedBody] = []
        self._buckets = Buckets()

    def keep(self, request: Request, route: Route, error: BadBody, keys: Container[str]) -> None:
        """Keep the body of a request whose sender is identified; `keys` are those of all integrations."""
        sender = request.sender
        assert sender is not None
        claims, now = ((sender.id, KEPT_A_MINUTE),), time.monotonic()
        if len(self._waiting) >= MAX_WAITING or self._buckets.wait(claims, now):
            _DROPPED.inc()
            return
        self._buckets.take(claims, now)
        mask = Mask(keys)
        self._waiting.append(
            RejectedBody(
                event_id=request.event_id,
                tenant=sender.tenant,
                service=sender.service,
                sender=digest(sender.id),
                integration=shown_sender(sender.id),
                provider=route.provider.slug,
                method=request.scope.method,
                path=request.scope.path,
                query=mask.text(key_and_rest(request.scope.query_string)[1]),
                headers=mask.headers(request.headers),
                field=error.path,
                error=error.reason,
                size=len(request.body),
                body=mask.body(request.body),
            )
        )

    def take(self) -> list[RejectedBody]:
        """The bodies that were kept since the last call."""
        found, self._waiting = self._waiting, []
        return found


class Mask:
    """Masks credentials: values whose name says that they are credentials, and `keys` of integrations at any place."""

    def __init__(self, keys: Container[str]) -> None:
        self._keys = keys

    def body(self, body: bytes) -> bytes:
        """The first MAX_KEPT bytes of a body, masked."""
        # The cut at the end may split a credential: search a little further.
        body = _MEMBER.sub(rb"\1" + MASK, body[: MAX_KEPT + KEY_LENGTH])
        return _KEY.sub(self._masked, _FIELD.sub(rb"\1" + MASK, body))[:MAX_KEPT]

    def text(self, text: str) -> str:
        """The same for a text."""
        return self.body(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers without those that are credentials; the other values are masked."""
        return {name: self.text(value) for name, value in headers.items() if not _HEADER.search(name)}

    def _masked(self, found: re.Match[bytes]) -> bytes:
        return MASK if found[0].decode() in self._keys else found[0]
