"""`python -m tests.providers.gateway BOOK`: the gateway with the payload set's Amazon, which notes visits in a file.

The set has a certificate and the address at which Amazon would serve it.
"""

import os
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import uvloop

from schemas.settings import Settings
from sinks.outbound import Answer
from streams.gateway.server import serve
from streams.process.logs import configure_logging
from tests.providers.payload_set import certificates


class Amazon:
    """Serves the set's certificate and confirms subscriptions; anything else it does not know."""

    def __init__(self, book: Path) -> None:
        self._book = book
        self._certificates = certificates()

    async def get(self, url: str) -> Answer:
        """200 with the certificate, 200 for a confirmation with its two parameters, else 404."""
        with self._book.open("a") as book:
            book.write(f"{url}\n")
        if url in self._certificates:
            return Answer(200, body=self._certificates[url].encode())
        query = parse_qs(urlsplit(url).query)
        confirmed = query.get("Action") == ["ConfirmSubscription"] and {"TopicArn", "Token"} <= query.keys()
        return Answer(200 if confirmed else 404)


if __name__ == "__main__":
    configure_logging("gateway", "info")
    uvloop.run(serve(Settings.from_env(os.environ), Amazon(Path(sys.argv[1]))))
