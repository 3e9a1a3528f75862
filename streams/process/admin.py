"""The admin port answers `/livez`, `/readyz`, `/metrics` and `/version`, and changes nothing."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import orjson
import structlog
from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streams.process.installation import stormweir_version
from streams.process.ports import listen

#: None if the check succeeds, else why it fails, without secrets.
Reason = str | None
Check = Callable[[], Reason | Awaitable[Reason]]
_CHECK_TIMEOUT_S = 5.0
_log = structlog.get_logger(__name__)


def healthy() -> Reason:
    """The default check: it always succeeds, so a process that answers is healthy."""
    return None


class AdminServer:
    """An HTTP server in the running loop. Use it with `async with`, or call `start` and `stop`.

    `/livez` and `/readyz` answer 200 `{"status": "ok"}` or 503 `{"status": "failed", "reason": ...}`; a
    check that raises, or takes 5 s, has failed.
    """

    def __init__(self, host: str, port: int, live: Check = healthy, ready: Check = healthy) -> None:
        self.host = host
        self.port = port
        app = web.Application()
        app.router.add_get("/livez", _health(live))
        app.router.add_get("/readyz", _health(ready))
        app.router.add_get("/metrics", _metrics)
        app.router.add_get("/version", _version)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen. Raises PortInUseError."""
        await listen(self._runner, self.host, self.port, f"admin port {self.port}")

    async def stop(self) -> None:
        """Close the port and its connections."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _health(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        reason = await _reason(check)
        if reason is None:
            return _json({"status": "ok"})
        return _json({"status": "failed", "reason": reason}, status=503)

    return answer


async def _reason(check: Check) -> Reason:
    try:
        result = check()
        if inspect.isawaitable(result):
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                return await result
        return result
    except TimeoutError:
        return f"the check did not end in {_CHECK_TIMEOUT_S:.0f} s"
    except Exception as error:
        _log.exception("health check failed")
        return f"the check failed: {type(error).__name__}"


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _version(_: web.Request) -> web.Response:
    return _json({"version": stormweir_version()})


def _json(value: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
