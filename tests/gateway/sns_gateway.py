"""`python -m tests.gateway.sns_gateway DIRECTORY`: the gateway with Amazon played by tests.providers.amazon.

Its certificate is `certificate.pem` of the directory, the addresses it visits go to `visited`; while there is a
file `away` Amazon does not answer.
"""

import os
import sys
from pathlib import Path

import uvloop

from schemas.settings import Settings
from sinks.outbound import Answer, ErrorCode
from streams.gateway.server import serve
from streams.process.logs import configure_logging
from tests.providers.amazon import Amazon


class Noting(Amazon):
    """Amazon, with a book of its visitors."""

    def __init__(self, directory: Path) -> None:
        super().__init__((directory / "certificate.pem").read_text())
        self._directory = directory

    async def get(self, url: str) -> Answer:
        """As Amazon does, noted."""
        with (self._directory / "visited").open("a") as book:
            book.write(f"{url}\n")
        if (self._directory / "away").exists():
            return Answer(0, error_code=ErrorCode.TIMEOUT)
        return await super().get(url)


if __name__ == "__main__":
    configure_logging("gateway", "info")
    uvloop.run(serve(Settings.from_env(os.environ), Noting(Path(sys.argv[1]))))
