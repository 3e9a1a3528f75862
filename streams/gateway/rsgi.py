"""The part of RSGI that the gateway uses, as types.

https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

from streams.gateway.answers import Headers


class RequestHeaders(Protocol):
    """Granian's headers; `get` gives None for a value that is not ASCII."""

    def get(self, key: str, default: Any = None) -> Any: ...


class Scope(Protocol):
    """A request without its body. `path` is percent-decoded, `query_string` is as it was sent."""

    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> RequestHeaders: ...


class Exchange(Protocol):
    """Call it for the whole body, or iterate over it for the body's pieces; answer once."""

    def __call__(self) -> Awaitable[bytes]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...
