"""The gateway's answers: status, headers and JSON bodies, and the refusals that carry them."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import orjson

from schemas.fingerprint import uuid_text
from schemas.wire.verdict import Verdict
from streams.gateway.senders import Sender

Headers = list[tuple[str, str]]
_JSON = ("content-type", "application/json")
_HEADERS = [_JSON]
RETRY_AFTER_S = 2


class Answer(NamedTuple):
    """One HTTP answer. `reason` is the short code of a refusal, else ""; `field` is the field that a 400 is about."""

    status: int
    body: bytes
    headers: Headers = _HEADERS
    reason: str = ""
    field: str = ""


class Refusal(Exception):  # noqa: N818 - an answer that ends the checks, not an error of ours
    """The request is not accepted; no part of it is on Kafka. `sender` is None if it was not known by then."""

    def __init__(self, answer: Answer, sender: Sender | None = None) -> None:
        super().__init__(answer.reason)
        self.answer = answer
        self.sender = sender


def _refused(status: int, code: str, error: str, headers: Headers | None = None, **more: str) -> Answer:
    body = orjson.dumps({"error": error, **more})
    return Answer(status, body, [_JSON, *(headers or [])], code, more.get("field", ""))


NOT_FOUND = _refused(404, "not_found", "no such route")
#: The same answer for a missing, malformed and unknown key, so that it does not reveal which keys exist.
_CHALLENGE = [("www-authenticate", "Token")]
UNAUTHORIZED = _refused(401, "unauthorized", "unauthorized", _CHALLENGE)
#: The key is valid, but belongs to another provider: the answer is that for a wrong key, the recorded reason is not.
WRONG_TYPE = UNAUTHORIZED._replace(reason="wrong_type")
#: The refusal for each reason that streams.policy.signature.verify gives, and for a request that came before.
UNVERIFIED = {
    reason: _refused(401, reason, "unauthorized", _CHALLENGE, reason=reason)
    for reason in ("missing_header", "bad_signature", "stale_timestamp", "replayed")
}
MISSING_SECRET = _refused(
    401, "missing_secret", "a signature is required, and no secret is set to check it", reason="missing_secret"
)
#: A message that SNS posts with raw message delivery is not signed, and does not prove which topic it is from.
NOT_SIGNED = _refused(
    401, "missing_signature", "the message is not signed: turn raw message delivery off", reason="missing_signature"
)
OTHER_TOPIC = _refused(403, "topic", "the integration does not list the message's SNS topic", field="TopicArn")
NO_CERTIFICATE = _refused(
    503, "no_certificate", "the signer's certificate could not be fetched, send it again",
    [("retry-after", str(RETRY_AFTER_S))],
)  # fmt: skip
TOO_SLOW = _refused(408, "too_slow", "the body did not arrive in time", [("connection", "close")])
UNKNOWN_ENCODING = _refused(
    415, "encoding", "a body may be sent as it is, or as gzip or deflate", [("accept-encoding", "gzip, deflate")]
)
DISABLED = _refused(403, "disabled", "the integration is disabled")
DISABLED_HEARTBEAT = _refused(403, "disabled", "the heartbeat is disabled")
NO_SCOPE = _refused(403, "scope", "the API key lacks the scope events:write")
UNKNOWN_REQUEST = _refused(404, "request", "no such request")
UNKNOWN_SERVICE = _refused(404, "service", "no such service", field="service_id")
UNAVAILABLE = _refused(
    503, "unavailable", "the alert could not be stored, send it again", [("retry-after", str(RETRY_AFTER_S))]
)
NOT_STORED = _refused(503, "not_stored", "the configuration could not be changed, start again")
BUSY = _refused(
    503, "busy", "too many large bodies at once, send it again",
    [("retry-after", str(RETRY_AFTER_S)), ("connection", "close")],
)  # fmt: skip
FAILED = _refused(500, "failed", "internal error")


def wrong_method(methods: Iterable[str]) -> Answer:
    """405 with the methods that are allowed."""
    allowed = ", ".join(methods)
    return _refused(405, "method", f"only {allowed} is answered here", [("allow", allowed)])


def too_large(limit: int) -> Answer:
    """413; `limit` in bytes. The connection ends, because the rest of the body is not read."""
    return _refused(413, "too_large", f"the body is larger than {limit} bytes", [("connection", "close")])


def too_large_for_topic(limit: int) -> Answer:
    """413 for a body that was read but does not fit into Kafka's topic; `limit` is its `max.message.bytes`."""
    return _refused(413, "too_large", f"the request does not fit into the {limit} bytes that its Kafka topic takes")


@cache
def rate_limited(seconds: int) -> Answer:
    """429; a request is accepted again after `seconds` (at most 60)."""
    return _refused(429, "rate_limited", "too many requests", [("retry-after", str(seconds))])


def bad_body(path: str, reason: str) -> Answer:
    """400 with the dotted path of the field; 415 when the field is the content type."""
    status = 415 if path == "content-type" else 400
    return _refused(status, "bad_body", f"{path}: {reason}", field=path)


def processed(dedup_key: str) -> Answer:
    """202 as PagerDuty's Events API answers it."""
    return Answer(202, orjson.dumps({"status": "success", "message": "Event processed", "dedup_key": dedup_key}))


def accepted(event_id: str, dedup_key: str | None) -> Answer:
    """202 for a webhook; a batch has no single dedup key."""
    value = {"status": "accepted", "message": "Event processed", "event_id": event_id}
    if dedup_key is not None:
        value["dedup_key"] = dedup_key
    return Answer(202, orjson.dumps(value))


def will_be_processed(request_id: str, took: float) -> Answer:
    """202 as Opsgenie's Alert API answers it (https://docs.opsgenie.com/docs/alert-api); `took` in seconds."""
    value = {"result": "Request will be processed", "took": round(took, 3), "requestId": request_id}
    return Answer(202, orjson.dumps(value))


def request_status(request_id: str, action: str, status: str, dedup_key: str, took: float) -> Answer:
    """200 with the status of a request as Opsgenie reports it; its clients identify the alert by `alertId`.

    https://docs.opsgenie.com/docs/alert-api#get-request-status
    """
    data = {
        "success": True,
        "isSuccess": True,
        "action": action,
        "status": status,
        "alertId": dedup_key or request_id,
        "alias": dedup_key,
    }
    return Answer(200, orjson.dumps({"data": data, "took": round(took, 3), "requestId": request_id}))


def as_pagerduty(answer: Answer) -> Answer:
    """A refusal with the fields that PagerDuty's clients read in a 400: `status`, `message` and `errors`."""
    if answer.status != 400:
        return answer
    value = orjson.loads(answer.body)
    value |= {"status": "invalid event", "message": "Event object is invalid", "errors": [value["error"]]}
    return answer._replace(body=orjson.dumps(value))


def as_opsgenie(answer: Answer, request_id: str, took: float) -> Answer:
    """A refusal with the fields that Opsgenie's clients read: `message`, `took`, `requestId`, and `errors` by field.

    The status for a wrong field in readable JSON is 422, as in https://docs.opsgenie.com/docs/response#error-handling.
    """
    value = orjson.loads(answer.body)
    value |= {"message": value["error"], "took": round(took, 3), "requestId": request_id}
    if answer.field:
        value["errors"] = {answer.field: value["error"].removeprefix(f"{answer.field}: ")}
    unprocessable = answer.status == 400 and answer.field not in ("", "body")
    return answer._replace(status=422 if unprocessable else answer.status, body=orjson.dumps(value))


def judged(answer: Answer, verdict: Verdict) -> Answer:
    """An answer with the stream's verdict: whether the alert is a duplicate, and its incident if it has one."""
    return answer._replace(body=orjson.dumps({**orjson.loads(answer.body), **_told(verdict)}))


def duplicate(verdict: Verdict) -> Answer:
    """409 for an alert that is already open. The alert is stored and counted, so this is not a refusal."""
    return Answer(409, orjson.dumps({"error": "duplicate", **_told(verdict)}))


def _told(verdict: Verdict) -> dict[str, object]:
    """The fields of a verdict. For several alerts, which may have an incident each: only whether all are duplicates."""
    told: dict[str, object] = {"deduplicated": verdict.deduplicated}
    if verdict.reply_to.alerts == 1:
        told["dedup_key"] = verdict.reply_to.dedup_key
        if verdict.incident_id:
            told["incident_id"] = uuid_text(verdict.incident_id)
    return told


def waited(answer: Answer, seconds: int) -> Answer:
    """The answer to a request with `Prefer: wait=N` (RFC 7240, section 3)."""
    return answer._replace(headers=[*answer.headers, ("preference-applied", f"wait={seconds}")])


def allowed_origin(origin: str, rate: str) -> Answer:
    """200 for a sender that asks before it sends; `rate` is requests a minute, or `*`.

    https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md#42-validation-response
    """
    return Answer(200, b"", [("webhook-allowed-origin", origin), ("webhook-allowed-rate", rate), ("allow", "POST")])


def document(body: bytes) -> Answer:
    """200 with a JSON document."""
    return Answer(200, body)


def no_alert(body: bytes, content_type: str, status: int = 200) -> Answer:
    """The answer to a valid request that carries no alert: a test, a handshake, an event of no interest, a change."""
    return Answer(status, body, [("content-type", content_type)])
