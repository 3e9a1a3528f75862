"""What the gateway answers: status, headers and JSON bodies, and the refusals that lead to them."""

from typing import NamedTuple

import orjson

Headers = list[tuple[str, str]]
_JSON = ("content-type", "application/json")
_HEADERS = [_JSON]
RETRY_AFTER_S = 2


class Answer(NamedTuple):
    """One HTTP answer. `reason` is the short code for the metric of rejections, "" for accepted ones."""

    status: int
    body: bytes
    headers: Headers = _HEADERS
    reason: str = ""


class Refusal(Exception):  # noqa: N818 - an answer that ends the checks, not an error of ours
    """The request is not accepted; nothing of it is on Kafka."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def _refused(status: int, code: str, error: str, headers: Headers | None = None, **more: str) -> Answer:
    body = orjson.dumps({"error": error, **more})
    return Answer(status, body, [_JSON, *(headers or [])], code)


NOT_FOUND = _refused(404, "not_found", "no such route")
WRONG_METHOD = _refused(405, "method", "only POST is answered here", [("allow", "POST")])
#: The same for a missing, malformed and unknown key, so that nobody learns which keys exist.
_CHALLENGE = [("www-authenticate", "Token")]
UNAUTHORIZED = _refused(401, "unauthorized", "unauthorized", _CHALLENGE)
#: The refusal of each reason that schemas.signature.verify gives.
UNVERIFIED = {
    reason: _refused(401, reason, "unauthorized", _CHALLENGE, reason=reason)
    for reason in ("missing_header", "bad_signature", "stale_timestamp")
}
#: Change events are understood but have no table yet: saying 2xx would lose them silently.
NOT_STORED = _refused(501, "not_stored", "change events are not stored by this version")
DISABLED = _refused(403, "disabled", "the integration is disabled")
NO_SCOPE = _refused(403, "scope", "the API key lacks the scope events:write")
UNKNOWN_SERVICE = _refused(404, "service", "no such service", field="service_id")
UNAVAILABLE = _refused(
    503, "unavailable", "the alert could not be stored, send it again", [("retry-after", str(RETRY_AFTER_S))]
)
FAILED = _refused(500, "failed", "internal error")


def too_large(limit: int) -> Answer:
    """413; `limit` in bytes. The connection ends, because the rest of the body is not read."""
    return _refused(413, "too_large", f"the body is larger than {limit} bytes", [("connection", "close")])


def bad_body(path: str, reason: str) -> Answer:
    """400 with the dotted path of the field."""
    return _refused(400, "bad_body", f"{path}: {reason}", field=path)


def invalid_event(path: str, reason: str) -> Answer:
    """400 in PagerDuty's shape, and ours inside it."""
    error = f"{path}: {reason}"
    value = {
        "status": "invalid event",
        "message": "Event object is invalid",
        "errors": [error],
        "error": error,
        "field": path,
    }
    return Answer(400, orjson.dumps(value), reason="bad_body")


def processed(dedup_key: str) -> Answer:
    """202 as PagerDuty's Events API answers it."""
    return Answer(202, orjson.dumps({"status": "success", "message": "Event processed", "dedup_key": dedup_key}))


def accepted(event_id: str, dedup_key: str | None) -> Answer:
    """202 for a webhook; a batch has no single dedup key."""
    value = {"status": "accepted", "message": "Event processed", "event_id": event_id}
    if dedup_key is not None:
        value["dedup_key"] = dedup_key
    return Answer(202, orjson.dumps(value))


def no_alert(body: bytes, content_type: str) -> Answer:
    """200 for a right request that carries no alert: a test, a handshake, an event of no interest."""
    return Answer(200, body, [("content-type", content_type)])
