"""Each vendor's signature in its header, and nothing in anybody else's; public verifiers agree with ours."""

import base64
import hmac
import json
import random
import time
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from slack_sdk.signature import SignatureVerifier
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from streams.policy.signature import GENERAL, SLACK, Reason, Signature, StandardWebhooks, mark, verify
from streams.providers import PROVIDERS

SECRET = "a secret of sixteen"
BODY = b'{"summary": "disk full"}'
NOW = 1_762_423_200
HEX = hmac.new(SECRET.encode(), BODY, sha256).hexdigest()
SLACK_HEX = hmac.new(SECRET.encode(), b"v0:%d:%b" % (NOW, BODY), sha256).hexdigest()


def declared(slug: str) -> Signature:
    """The provider's own scheme."""
    scheme = PROVIDERS[slug].signature
    assert scheme is not None
    return scheme


#: C51, the seed's table: the scheme, its header, a right value, and the headers that belong to it.
TABLE: dict[str, tuple[Signature, str, str, dict[str, str]]] = {
    "GitHub": (declared("github"), "x-hub-signature-256", f"sha256={HEX}", {}),
    "GitLab": (declared("gitlab"), "x-gitlab-token", SECRET, {}),
    "Sentry": (declared("sentry"), "sentry-hook-signature", HEX, {}),
    "Slack": (SLACK, "x-slack-signature", f"v0={SLACK_HEX}", {"x-slack-request-timestamp": f"{NOW}"}),
    "Grafana": (declared("grafana"), "x-grafana-signature", HEX, {}),
    "Generic, X-Signature": (declared("webhook"), "x-signature", f"sha256={HEX}", {}),
    "Generic, X-Webhook-Signature": (declared("webhook"), "x-webhook-signature", f"sha256={HEX}", {}),
}
ROW = list(TABLE)


def reason(name: str, headers: dict[str, str], body: bytes = BODY) -> Reason | None:
    """Why a request of this row is refused."""
    scheme, _, _, more = TABLE[name]
    return verify(scheme, SECRET, {**more, **headers}.get, body, float(NOW))


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("case", ["valid", "invalid", "missing", "other provider's header"])
def test_the_header_of_each_provider(name: str, case: str) -> None:
    """C51: 7 rows x 4: the right value is right, another is bad, none is missing, another provider's does not count."""
    scheme, header, value, _ = TABLE[name]
    if case == "valid":
        assert reason(name, {header: value}) is None
        assert reason(name, {header: value}, BODY + b" ") in ("bad_signature", None)
        assert (reason(name, {header: value}, BODY + b" ") is None) == (name == "GitLab")  # a token signs nothing
    elif case == "invalid":
        flipped = value[:-1] + ("0" if value[-1] != "0" else "1")
        for wrong in (flipped, "", value + "0", "ü", "sha256=", "v0="):
            assert reason(name, {header: wrong}) == "bad_signature", wrong
    elif case == "missing":
        assert reason(name, {}) == "missing_header"
    else:
        others = [other for other in ROW if other != name and TABLE[other][0] is not scheme]
        assert len(others) >= 5
        for other in others:
            assert reason(name, {TABLE[other][1]: TABLE[other][2]}) == "missing_header", other


def test_grafanas_real_header_counts_before_the_seeds() -> None:
    """Grafana sends X-Grafana-Alerting-Signature by default; the seed's X-Grafana-Signature is taken as well."""
    scheme = declared("grafana")
    headers = {"x-grafana-alerting-signature": HEX}
    assert verify(scheme, SECRET, headers.get, BODY, NOW) is None
    assert verify(scheme, SECRET, {**headers, "x-grafana-signature": "0"}.get, BODY, NOW) is None


@pytest.mark.parametrize("name", ["Generic, X-Signature", "Generic, X-Webhook-Signature", "Sentry", "Grafana"])
def test_hexadecimal_in_any_case(name: str) -> None:
    """C50, decision 4: bare, with the prefix where the vendor has one, in upper and lower case."""
    _, header, _, _ = TABLE[name]
    assert reason(name, {header: HEX}) is None
    assert reason(name, {header: HEX.upper()}) is None
    if name not in ("Grafana",):
        assert reason(name, {header: f"SHA256={HEX.upper()}"}) is None


#: https://docs.slack.dev/authentication/verifying-requests-from-slack, the example of the page.
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_TIME = 1531420618
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


@pytest.mark.parametrize(
    ("late", "wanted"), [(0, None), (300, None), (301, "stale_timestamp"), (-301, "stale_timestamp")]
)
def test_slacks_published_vector(late: int, wanted: Reason | None) -> None:
    """C52: Slack's own example holds, for five minutes either way."""
    headers = {"x-slack-signature": SLACK_SIGNATURE, "x-slack-request-timestamp": f"{SLACK_TIME}"}
    assert verify(SLACK, SLACK_SECRET, headers.get, SLACK_BODY, SLACK_TIME + late) == wanted
    del headers["x-slack-request-timestamp"]
    assert verify(SLACK, SLACK_SECRET, headers.get, SLACK_BODY, SLACK_TIME) == "missing_header"


class Clock:
    """What slack_sdk asks for the time."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        """Unix seconds."""
        return self._now


def test_slack_sdk_agrees() -> None:
    """Two thousand right and spoilt requests: the verdict is slack_sdk's, or slack_sdk raises and ours is a refusal."""
    rng, taken = random.Random(20), 0
    for _ in range(2000):
        body = rng.randbytes(rng.randrange(40)) if rng.random() < 0.2 else f"payload={rng.random()}".encode()
        stamp = f"{NOW + rng.choice((0, 0, 0, -300, 300, -301, 301, 5000))}"
        signed = hmac.new(SECRET.encode(), b"v0:%b:%b" % (stamp.encode(), body), sha256).hexdigest()
        given = rng.choice((f"v0={signed}",) * 3 + (signed[:-1], f"v1={signed}", "", "v0=", f"v0={'0' * 64}", "ü"))
        sent = rng.choice((body,) * 4 + (body + b"x",))
        stamp = rng.choice((stamp,) * 6 + ("soon", "", f"{stamp}0"))
        headers = {"x-slack-signature": given, "x-slack-request-timestamp": stamp}
        ours = verify(SLACK, SECRET, headers.get, sent, float(NOW)) is None
        oracle = SignatureVerifier(SECRET, Clock(NOW))  # type: ignore[arg-type]
        try:
            theirs = oracle.is_valid(sent, stamp, given)
        except UnicodeDecodeError:
            continue  # it reads bodies as text only
        except (ValueError, TypeError):
            theirs = False
        assert ours == theirs, (headers, sent)
        taken += ours
    assert 150 < taken < 1500


def webhook_headers(secret: bytes, message_id: str, stamp: int, body: bytes) -> dict[str, str]:
    """What a sender of Standard Webhooks puts in its headers, by the reference implementation."""
    signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(stamp, UTC), body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": f"{stamp}", "webhook-signature": signature}


def test_standardwebhooks_agrees() -> None:
    """Two thousand right and spoilt requests: the verdict is the reference implementation's."""
    rng, taken, now = random.Random(21), 0, int(time.time())
    for number in range(2000):
        key = rng.randbytes(24)
        text = "whsec_" + base64.b64encode(key).decode()
        body = json.dumps({"n": number, "text": rng.choice(["", "äß", "🚨", "x" * 99])}).encode()
        headers = webhook_headers(key, f"msg_{number}", now + rng.choice((0, 0, 0, -290, 290, -310, 310)), body)
        match rng.randrange(10):
            case 0:
                body += b" "
            case 1:
                headers["webhook-id"] += "x"
            case 2:
                headers["webhook-timestamp"] = f"{int(headers['webhook-timestamp']) - 1}"
            case 3:
                headers["webhook-signature"] = (
                    f"v1,{base64.b64encode(bytes(32)).decode()} {headers['webhook-signature']}"
                )
            case 4:
                headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
            case 5:
                del headers[rng.choice(list(headers))]
            case 6:
                headers["webhook-timestamp"] = rng.choice(("soon", "-5"))
        ours = verify(StandardWebhooks(), text, headers.get, body, time.time()) is None
        try:
            Webhook(text).verify(body, headers)
            theirs = True
        except WebhookVerificationError:
            theirs = False
        assert ours == theirs, headers
        assert verify(GENERAL, text, headers.get, body, time.time()) is None or not ours
        taken += ours
    assert 500 < taken < 1500


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!", "whsec_ä"])
def test_a_secret_that_is_none_opens_nothing(secret: str) -> None:
    """A Standard Webhooks secret that is not base64 verifies no request, and raises nothing."""
    headers = {"webhook-id": "i", "webhook-timestamp": f"{NOW}", "webhook-signature": "v1,"}
    assert verify(StandardWebhooks(), secret, headers.get, BODY, NOW) == "bad_signature"


def test_a_mark_is_the_same_for_every_writing_of_one_signature() -> None:
    """What the memory of replays compares: empty without a signed time, else not to be changed by who replays."""
    timed = {"x-timestamp": f"{NOW}"}
    marks = {
        mark(GENERAL, {**timed, **headers}.get)
        for headers in (
            {"x-signature": HEX},
            {"x-signature": f" sha256={HEX.upper()} "},
            {"x-webhook-signature": HEX},
            {"x-signature": HEX, "x-webhook-signature": "other"},
        )
    }
    assert marks == {HEX}
    assert mark(GENERAL, {"x-signature": HEX}.get) == ""
    assert mark(GENERAL, {}.get) == ""
    assert all(
        mark(declared(slug), {"x-timestamp": "1"}.get) == "" for slug in ("github", "gitlab", "splunk", "sentry")
    )
    message = {"webhook-id": "i", "webhook-timestamp": "1", "webhook-signature": "v1,a v1,b"}
    assert mark(GENERAL, message.get) == mark(GENERAL, {**message, "webhook-signature": "v1,b"}.get) == "i.1"
