"""What browsers bring: the cookie of a session, and where a request comes from."""

from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import Request, Response

from streams.api.identity.oidc import Attempt
from streams.api.problems import ProblemError

#: Seconds for logging in at the identity provider.
_ATTEMPT_S = 600
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def session_of(request: Request) -> str | None:
    """The value of the session's cookie."""
    return request.cookies.get(_cookie(request))


def set_session(request: Request, response: Response, value: str, seconds: int) -> None:
    """Send the session's cookie. Other than on loopback the browser keeps it under https only."""
    response.set_cookie(
        _cookie(request), value, max_age=seconds, path="/", secure=not _local(request), httponly=True, samesite="lax"
    )


def clear_session(request: Request, response: Response) -> None:
    """Make the browser forget it."""
    response.delete_cookie(_cookie(request), path="/", secure=not _local(request), httponly=True, samesite="lax")


def set_attempt(request: Request, response: Response, attempt: Attempt) -> None:
    """Send what the browser keeps until it comes back from the identity provider."""
    response.set_cookie(
        f"{_cookie(request)}-oidc", ".".join(attempt), max_age=_ATTEMPT_S, path="/", secure=not _local(request),
        httponly=True, samesite="lax",
    )  # fmt: skip


def attempt_of(request: Request) -> Attempt | None:
    """What the browser kept."""
    parts = request.cookies.get(f"{_cookie(request)}-oidc", "").split(".")
    return Attempt(*parts) if len(parts) == len(Attempt._fields) and all(parts) else None


def clear_attempt(request: Request, response: Response) -> None:
    """Make the browser forget it."""
    name = f"{_cookie(request)}-oidc"
    response.delete_cookie(name, path="/", secure=not _local(request), httponly=True, samesite="lax")


def require_own_origin(request: Request) -> None:
    """Raise ProblemError 403 if another site made the browser send this request, and it could change something.

    Requests with a token need no check: no browser adds it by itself. Otherwise, as browsers say where a request comes
    from: `Sec-Fetch-Site` (W3C Fetch Metadata) is `same-origin`, or `Origin` is this very host. With a cookie one of
    them is needed.
    """
    if request.method in _SAFE or "authorization" in request.headers:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site == "same-origin"
    elif origin is not None:
        own = urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    else:
        own = session_of(request) is None
    if not own:
        raise ProblemError(403, "the request comes from another site")


def address_of(request: Request) -> str:
    """The address that the request comes from, empty without one. Of a trusted proxy's request it is the last one in
    `X-Forwarded-For` that is no trusted proxy: what stands before it, the client may have written itself. What is no
    address does not count, nor what stands before it.
    """
    found = request.client.host if request.client else ""
    proxies = request.app.state.parts.settings.trusted_proxies
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    with suppress(ValueError):
        while forwarded and any(ip_address(found) in network for network in proxies):
            found = str(ip_address(forwarded.pop().strip()))
    return found


def _cookie(request: Request) -> str:
    # The prefix makes browsers insist on Secure, Path=/ and this very host, RFC 6265bis 4.1.3.2.
    return "stormweir" if _local(request) else "__Host-stormweir"


def _local(request: Request) -> bool:
    """Whether the browser believes to talk to its own machine, where it may do so without https."""
    return urlsplit(f"//{request.headers.get('host', '')}").hostname in _LOOPBACK
