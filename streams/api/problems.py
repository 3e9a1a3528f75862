"""Every error is an `application/problem+json` (RFC 9457) with the paths of the fields that are wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sinks.clickhouse.client import ClickHouseError
from streams.api.roles import operation_of
from streams.control.edits import FieldError
from streams.control.records import InUseError, InvalidError
from streams.control.write import ConflictError
from streams.gateway.lanes import UnavailableError
from streams.process.errors import OperatorError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a caller may ask again when Kafka or ClickHouse is away.
_RETRY_S = 2


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value that is not accepted: its path in the request, and why."""

    path: str
    message: str


class ProblemError(Exception):
    """An answer other than success. `detail` is for people; `errors` name fields of the request."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        errors: Sequence[Wrong] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


class Problem(BaseModel):
    """An error, as RFC 9457 has it; `errors` name the fields of the request that are wrong."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[Wrong] = []


_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
#: What every operation may answer, for OpenAPI.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request is not accepted.", "content": _CONTENT},
    "5XX": {"model": Problem, "description": "Kafka or ClickHouse does not answer now.", "content": _CONTENT},
}


def problem(
    status: int, detail: str = "", errors: Sequence[Wrong] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """The answer of this status."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = [asdict(wrong) for wrong in errors]
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Make the application answer each error that a route raises as a problem; the audit has each 403 of a caller."""

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> Response:
        caller = getattr(request.state, "caller", None)
        if error.status == 403 and caller is not None:
            request.app.state.parts.audit.refused(caller.tenant, caller.by, operation_of(request), "forbidden")
        return problem(error.status, error.detail, error.errors, error.headers)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        # The offending values are left out: they may be secrets.
        wrong = [Wrong(".".join(str(part) for part in issue["loc"][1:]), issue["msg"]) for issue in error.errors()]
        return problem(422, "the request is not valid", wrong)

    @app.exception_handler(FieldError)
    async def _field(_: Request, error: FieldError) -> Response:
        return problem(422, str(error), [Wrong(error.field, error.reason)])

    @app.exception_handler(InvalidError)
    async def _record(_: Request, error: InvalidError) -> Response:
        return problem(422, str(error), [Wrong(path, text) for path, text in error.problems])

    @app.exception_handler(InUseError)
    @app.exception_handler(ConflictError)
    async def _conflict(_: Request, error: OperatorError) -> Response:
        return problem(409, str(error))

    @app.exception_handler(OperatorError)
    async def _operator(_: Request, error: OperatorError) -> Response:
        return problem(422, str(error))

    async def _away(_: Request, error: Exception) -> Response:
        what = "ClickHouse" if isinstance(error, ClickHouseError) else "Kafka"
        log.warning("a request failed", needs=what, error=type(error).__name__)
        return problem(503, f"{what} does not answer now", headers={"Retry-After": str(_RETRY_S)})

    for kind in (KafkaError, ClickHouseError, UnavailableError):
        app.add_exception_handler(kind, _away)
