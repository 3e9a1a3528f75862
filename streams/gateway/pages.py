"""Addresses of the gateway that take no alerts."""

from collections.abc import Sequence
from typing import Protocol

from streams.gateway.answers import Answer
from streams.gateway.routes import Request


class Page(Protocol):
    """What is behind one address."""

    @property
    def methods(self) -> Sequence[str]: ...

    async def answer(self, request: Request) -> Answer:
        """The answer to a request whose body was read. Raises Refusal."""
