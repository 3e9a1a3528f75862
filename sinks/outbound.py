"""The only outgoing HTTP client: bounded in time and size, without redirects, never into a private network.

The guard runs where a socket is created, so it checks the address that is really dialled: literal addresses,
names that resolve to private addresses, and names that resolve differently the second time.
"""

import errno
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

import aiohttp
from yarl import URL

from schemas.settings import IpNetwork

#: 5 s for name resolution, connection and TLS together, 30 s for the whole request.
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
MAX_ANSWER = 65_536
MAX_SOCKET_MESSAGE = 1_048_576
#: Below the 5 s after which common servers drop an idle connection: a POST on a dropped connection is lost.
KEEPALIVE_S = 4.0
#: RFC 6052: IPv4 addresses behind a NAT64 translator.
_NAT64 = IPv6Network("64:ff9b::/96")


class ErrorCode(StrEnum):
    """Why there is no HTTP answer; `reset` also stands for an answer that was not HTTP."""

    REFUSED = "refused"
    DNS = "dns"
    TIMEOUT = "timeout"
    TLS = "tls"
    BLOCKED_TARGET = "blocked_target"
    RESET = "reset"
    INVALID_REQUEST = "invalid_request"


class Answer(NamedTuple):
    """A status of HTTP (or SMTP), or 0 and an error code; `body` is what was received, at most 64 KiB.

    `retry_after_s` (>= 0) is from the server's Retry-After header.
    """

    status: int
    retry_after_s: float | None = None
    error_code: ErrorCode | None = None
    body: bytes = b""


class BlockedTargetError(OSError):
    """The address is neither public nor in an allowed network."""

    def __init__(self) -> None:
        # One text for every address: aiohttp then raises this very error when all addresses are blocked.
        super().__init__(errno.EACCES, "the target's address is not allowed")


class Outbound:
    """Reaches public https addresses, and any scheme and address inside `allowed_networks`."""

    def __init__(self, allowed_networks: tuple[IpNetwork, ...], timeout: aiohttp.ClientTimeout = TIMEOUT) -> None:
        self._allowed = allowed_networks
        self._timeout = timeout
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST once; the result is how it ended. Raises only CancelledError.

        A received status counts, even if the rest of the answer is not received.
        """
        return await self._request("POST", url, body, headers)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET once, as `post`."""
        return await self._request("GET", url, None, headers or {})

    def websocket(self, url: str, heartbeat_s: float) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """A connection to a `wss` or `ws` address, under the guard of https or http; pings every `heartbeat_s` s.

        Entering it raises aiohttp's errors, OSError, or ValueError for another address.
        """
        target = URL(url, encoded=True)
        session = self._session({"wss": "https", "ws": "http"}.get(target.scheme, target.scheme))
        return session.ws_connect(target, heartbeat=heartbeat_s, max_msg_size=MAX_SOCKET_MESSAGE)

    async def _request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        try:
            # The URL stays as given: another quoting of the same characters would break a signed URL.
            target = URL(url, encoded=True)
            async with self._session(target.scheme).request(
                method, target, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await _content(response)
                return Answer(response.status, retry_after(response.headers), body=content)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(0, error_code=_code(error))

    async def close(self) -> None:
        """Close every connection; a later post opens new ones."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        # One pool per scheme: http has a stricter guard than https, and must not reuse connections made for https.
        if scheme not in {"http", "https"}:
            raise ValueError("neither http nor https")
        session = self._sessions.get(scheme)
        if session is None:
            session = self._sessions[scheme] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # deliveries are bounded per destination; a wait here would eat the 5 s
                    keepalive_timeout=KEEPALIVE_S,
                    socket_factory=guard(self._allowed, public=scheme == "https"),
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "stormweir"},
            )
        return session


def permitted(address: IPv4Address | IPv6Address, allowed: tuple[IpNetwork, ...], public: bool) -> bool:
    """Whether `address`, or the IPv4 address embedded in it, may be dialled; `public` permits public addresses."""
    target = _carried(address)
    if any(target in network for network in allowed):
        return True
    inward = target.is_multicast or target.is_reserved or getattr(target, "is_site_local", False)
    return public and target.is_global and not inward


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[12:])
    return address.ipv4_mapped or address.sixtofour or address


def guard(allowed: tuple[IpNetwork, ...], public: bool) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    """Opens sockets for permitted addresses alone, as `permitted`; raises BlockedTargetError for others."""

    def open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, proto, _, sockaddr = info
        if not permitted(ip_address(str(sockaddr[0])), allowed, public):
            raise BlockedTargetError
        return socket.socket(family, kind, proto)

    return open_socket


async def _content(response: aiohttp.ClientResponse) -> bytes:
    # A connection is reused only after its answer was read; one with an answer longer than MAX_ANSWER is closed.
    pieces: list[bytes] = []
    left = MAX_ANSWER
    try:
        while left > 0 and (piece := await response.content.read(left)):
            left -= len(piece)
            pieces.append(piece)
    except (aiohttp.ClientError, OSError):
        response.close()
    return b"".join(pieces)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), None if there is none or it is not usable.

    A date is taken relative to the answer's own Date, so the two machines' clocks need not agree.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def _code(error: Exception) -> ErrorCode:
    # The order of the checks matters: a certificate error is also a ValueError, a time-out also an OSError.
    if isinstance(error, aiohttp.ClientSSLError):
        return ErrorCode.TLS
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ErrorCode.DNS
    if isinstance(error, aiohttp.ClientConnectorError):
        match error.os_error:
            case BlockedTargetError():
                return ErrorCode.BLOCKED_TARGET
            case TimeoutError():
                return ErrorCode.TIMEOUT
            case ConnectionResetError():
                return ErrorCode.RESET
            case _:
                return ErrorCode.REFUSED
    if isinstance(error, TimeoutError):
        return ErrorCode.TIMEOUT
    return ErrorCode.INVALID_REQUEST if isinstance(error, ValueError) else ErrorCode.RESET
