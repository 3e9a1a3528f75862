"""Requests and answers of the API over HTTP, and its errors. Copied into the package `stormweir_client` as it is."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

T = TypeVar("T")


class Wrong(msgspec.Struct, frozen=True):
    """A value that is not accepted, or should be thought about: its path in the request, and why."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """An error as RFC 9457 has it; `detail` is for people, `errors` name the fields of the request that are wrong."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    errors: list[Wrong] = []


class ApiError(Exception):
    """An answer other than success. `retry_after` is the seconds after which to ask again, if the answer says so."""

    def __init__(self, problem: Problem, retry_after: int | None = None) -> None:
        said = f"{problem.status} {problem.title}"
        if problem.detail:
            said += f": {problem.detail}"
        if problem.errors:
            said += f" ({'; '.join(f'{wrong.path}: {wrong.message}' for wrong in problem.errors)})"
        super().__init__(said)
        self.problem = problem
        self.retry_after = retry_after


class UnauthorizedError(ApiError):
    """401: the token is not valid."""


class ForbiddenError(ApiError):
    """403: the token's role is too small."""


class NotFoundError(ApiError):
    """404: there is no such thing in the token's tenant."""


class ConflictError(ApiError):
    """409: somebody else changed the same meanwhile, or the first request with this key is not answered yet."""


class InvalidError(ApiError):
    """422: a value is not accepted; `problem.errors` names it."""


class TooManyRequestsError(ApiError):
    """429: ask again after `retry_after` seconds."""


class UnavailableError(ApiError):
    """503: Kafka or ClickHouse does not answer now; ask again after `retry_after` seconds."""


_ERRORS: Mapping[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
    429: TooManyRequestsError,
    503: UnavailableError,
}


class Call(NamedTuple):
    """One request. What is None in `query` and `headers` is not sent; a `body` that is text is sent as it is."""

    method: str
    path: str
    query: Mapping[str, Any] = {}
    headers: Mapping[str, str | None] = {}
    body: Any = None
    media: str = ""

    def arguments(self) -> dict[str, Any]:
        """What httpx2 makes the request of."""
        headers = {name: value for name, value in self.headers.items() if value is not None}
        content = None
        if self.media:
            headers["Content-Type"] = self.media
            content = self.body.encode() if isinstance(self.body, str) else msgspec.json.encode(self.body)
        query = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in self.query.items()
            if value is not None
        }
        return {"method": self.method, "url": self.path, "params": query, "headers": headers, "content": content}


class Event(NamedTuple):
    """An event of a stream; `id` is what a later stream goes on after."""

    id: str
    name: str
    data: dict[str, Any]


class _Events:
    """Makes events of the lines of a stream."""

    def __init__(self) -> None:
        self._id = ""
        self._name = ""
        self._data = ""

    def take(self, line: str) -> Iterator[Event]:
        """The event that ends with this line, if one does."""
        field, _, value = line.partition(": ")
        if field == "id":
            self._id = value
        elif field == "event":
            self._name = value
        elif field == "data":
            self._data += value
        elif not line and self._name:
            yield Event(self._id, self._name, msgspec.json.decode(self._data or "{}", type=dict[str, Any]))
            self._name = self._data = ""


def tag(version: str | None) -> str | None:
    """A version as If-Match and If-None-Match have it; `*` stays."""
    return version if version is None or version == "*" else f'"{version}"'


def part(value: object) -> str:
    """A value as one part of a path."""
    return quote(str(value), safe="")


def _error(answer: httpx2.Response) -> ApiError:
    # A proxy may answer with anything.
    problem = Problem(title=answer.reason_phrase, status=answer.status_code)
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        problem = msgspec.json.decode(answer.content, type=Problem)
    after = answer.headers.get("Retry-After", "")
    return _ERRORS.get(answer.status_code, ApiError)(problem, int(after) if after.isdecimal() else None)


def _value(answer: httpx2.Response, kind: type[T]) -> T:
    """The answer; of a redirect its address. Raises ApiError."""
    if answer.is_redirect:
        return msgspec.convert(answer.headers["Location"], kind)
    if not answer.is_success:
        raise _error(answer)
    if kind is str:
        return msgspec.convert(answer.text, kind)
    return msgspec.json.decode(answer.content or b"null", type=kind)


def _settings(url: str, token: str, timeout_s: float) -> dict[str, Any]:
    return {"base_url": url, "headers": {"Authorization": f"Bearer {token}"} if token else {}, "timeout": timeout_s}


class Transport:
    """Sends calls and waits for the answers. `url` is the console's, `token` begins with `swt_`."""

    def __init__(self, url: str, token: str = "", *, timeout_s: float = 30.0) -> None:
        self._http = httpx2.Client(**_settings(url, token, timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _answer(self, kind: type[T], call: Call) -> T:
        return _value(self._http.request(**call.arguments()), kind)

    def _events(self, call: Call) -> Iterator[Event]:
        with self._http.stream(**call.arguments()) as answer:
            if not answer.is_success:
                answer.read()
                raise _error(answer)
            events = _Events()
            for line in answer.iter_lines():
                yield from events.take(line)


class AsyncTransport:
    """Sends calls; the answers are awaited. `url` is the console's, `token` begins with `swt_`."""

    def __init__(self, url: str, token: str = "", *, timeout_s: float = 30.0) -> None:
        self._http = httpx2.AsyncClient(**_settings(url, token, timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _answer(self, kind: type[T], call: Call) -> T:
        return _value(await self._http.request(**call.arguments()), kind)

    async def _events(self, call: Call) -> AsyncIterator[Event]:
        async with self._http.stream(**call.arguments()) as answer:
            if not answer.is_success:
                await answer.aread()
                raise _error(answer)
            events = _Events()
            async for line in answer.aiter_lines():
                for event in events.take(line):
                    yield event
