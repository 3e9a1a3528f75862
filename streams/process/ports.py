"""Checks that a port is free; the error says which setting changes the port."""

import errno
import socket

from aiohttp import web

from schemas.settings import PORTS
from streams.process.errors import OperatorError


class PortInUseError(OperatorError):
    """Something else listens on a port we need."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # Servers set this option too: lingering connections of an earlier server do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(role: str, port: int, host: str = "127.0.0.1") -> None:
    """Raise PortInUseError, naming role, port and setting, when `port` of `role` is taken."""
    if not is_free(port, host):
        raise PortInUseError(
            f"port {port} ({role}) is in use on {host}: end what listens there, or choose other ports with "
            f"STORMWEIR_PORT_BASE (now {port - PORTS[role]} + {PORTS[role]})"
        )


async def listen(runner: web.AppRunner, host: str, port: int, what: str) -> None:
    """Set up a server and make it listen. Raises PortInUseError, in which `what` names the port."""
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortInUseError(f"{what} is in use on {host}: choose other ports with STORMWEIR_PORT_BASE") from None
