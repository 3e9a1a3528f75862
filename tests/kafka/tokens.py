"""An OAuth 2.0 token endpoint on loopback. Its tokens are unsigned: Kafka's validator for tests takes those."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


class TokenServer:
    """Answers client credentials with a token for the client's id; `asked` has the requests, `status` the answer.

    `lifetime` is in seconds. `with` it.
    """

    def __init__(self, secret: str) -> None:
        self.asked: list[dict[str, str]] = []
        self.status = 200
        self.lifetime = 300
        self._secret = secret
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                credentials = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                client, _, secret = credentials.partition(":")
                outer.asked.append({"client": client, **{name: value[0] for name, value in form.items()}})
                right = secret == outer._secret and form["grant_type"] == ["client_credentials"]
                body = json.dumps(outer._answer(client) if right else {"error": "invalid_client"}).encode()
                self.send_response(outer.status if right else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> "TokenServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, client: str) -> dict[str, object]:
        now = int(time.time())
        claims = {"sub": client, "iat": now, "exp": now + self.lifetime}
        return {"access_token": f"{_part({'alg': 'none'})}.{_part(claims)}.", "expires_in": self.lifetime}


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
