"""The application: every router of `routes`, behind one check of roles, with one form of errors; and the console."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from schemas.settings import Settings
from streams.api import routes
from streams.api.caller import authorize
from streams.api.headers import SecurityHeaders
from streams.api.once import Once
from streams.api.parts import Parts
from streams.api.problems import RESPONSES, answer_problems
from streams.api.record_schemas import record_schemas
from streams.api.static import serve_console
from streams.process.installation import stormweir_version

PREFIX = "/api/v1"


class _Api(FastAPI):
    """FastAPI whose OpenAPI document also has the schemas of records."""

    def openapi(self) -> dict[str, Any]:
        """The document, which FastAPI keeps once it is built."""
        kept = self.openapi_schema
        document = super().openapi()
        if document is not kept:
            components = document["components"]
            components["schemas"] = record_schemas() | components["schemas"]
        return document


def application(parts: Parts) -> FastAPI:
    """The API on these parts. An operation's id is its function's name."""
    app = _routed(parts.settings)
    app.state.parts = parts
    return app


def description() -> dict[str, Any]:
    """The API's OpenAPI document, without a running API."""
    return _routed(Settings()).openapi()


def _routed(settings: Settings) -> FastAPI:
    app = _Api(
        title="Stormweir",
        version=stormweir_version(),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        max_body_size=settings.max_body,
        generate_unique_id_function=_operation_id,
    )
    # The last one added is the outermost.
    app.add_middleware(Once)
    app.add_middleware(SecurityHeaders)
    answer_problems(app)
    for module in sorted(iter_modules(routes.__path__), key=lambda module: module.name):
        found = import_module(f"{routes.__name__}.{module.name}")
        app.include_router(
            found.router, prefix=PREFIX, dependencies=[Depends(authorize)], tags=[module.name], responses=RESPONSES
        )
    serve_console(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
