"""The PagerDuty channel: events of the Events API v2, whose `routing_key` is in the body.

https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import orjson
from pydantic import BeforeValidator, ConfigDict, Field, HttpUrl

from schemas.control import Destination, SecretMark
from schemas.fingerprint import digest
from sinks.contract import DONE, Channel, End, Help, Message, Rate, Request, Verdict, by_status
from sinks.events_v2 import events
from sinks.outbound import Answer

_ADDRESS = {"us": "https://events.pagerduty.com/v2/enqueue", "eu": "https://events.eu.pagerduty.com/v2/enqueue"}
_TOKEN = "Token token="  # noqa: S105 - the beginning of a header's value


def _bare(key: object) -> object:
    """The key of a header `Authorization: Token token=<key>`, which other products ask for."""
    return key.strip().removeprefix(_TOKEN).strip('"') if isinstance(key, str) else key


class PagerDutyDestination(Destination):
    """A service of PagerDuty, by the key of its integration."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["pagerduty"] = "pagerduty"
    routing_key: Annotated[str, BeforeValidator(_bare), SecretMark()] = Field(
        pattern=r"^[A-Za-z0-9]{32}$",
        repr=False,
        description="The integration key of an Events API v2 integration, 32 letters and digits.",
    )
    region: Literal["us", "eu"] = Field(
        default="us", description="Where the PagerDuty account is: `eu` if its address is `*.eu.pagerduty.com`."
    )
    rate_limit: int = Field(
        default=120,
        ge=10,
        le=10_000,
        description="Events a minute that PagerDuty takes for the key; accounts with AIOps may have more than 120.",
    )
    url: HttpUrl | None = Field(
        default=None, description="Another address that takes the Events API v2, in place of PagerDuty's own."
    )


def render(message: Message, settings: PagerDutyDestination, handle: str) -> Sequence[Request]:
    """A trigger, an acknowledge or a resolve; two of them if PagerDuty has not heard of the incident yet."""
    url = str(settings.url or _ADDRESS[settings.region])
    rates = (_rate(settings),)
    return [
        Request(url, body, {"Content-Type": "application/json"}, rates)
        for body in events(message, settings.routing_key)
    ]


def _rate(settings: PagerDutyDestination) -> Rate:
    """A bucket whose content and refill of 60 s are 95 % of the limit: events may arrive closer than they were sent."""
    most = settings.rate_limit * 0.95
    burst = max(1, settings.rate_limit // 20)
    scope = digest("pagerduty", settings.routing_key).hex()
    return Rate(f"pagerduty/{scope}", (most - burst) / 60, burst)


def classify(answer: Answer) -> Verdict:
    """202 is done. A 400 with `invalid event` says whether the key or the event is at fault."""
    found = _read(answer.body)
    if answer.status == 202 or (200 <= answer.status < 300 and found.get("status") == "success"):
        return DONE
    if 200 <= answer.status < 300:
        return Verdict(End.REFUSED, "not_pagerduty", broken=True)
    if answer.status == 400:
        errors = found.get("errors")
        told = " ".join(map(str, [found.get("message"), *(errors if isinstance(errors, list) else [errors])])).lower()
        if "routing_key" in told or "routing key" in told:
            return Verdict(End.REFUSED, "bad_routing_key", broken=True)
        return Verdict(End.REFUSED, "invalid_event")
    return by_status(answer)


def _read(body: bytes) -> Mapping[str, object]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


CHANNEL = Channel(
    slug="pagerduty",
    title="PagerDuty",
    settings=PagerDutyDestination,
    render=render,
    classify=classify,
    setup=(
        "In PagerDuty, open Services, the service, Integrations, and choose Add an integration.",
        "Choose Events API V2 and add it.",
        "Open the integration and copy its Integration Key into `routing_key`; an API access key does not work.",
        "If the account's address ends in `eu.pagerduty.com`, set `region` to `eu`.",
    ),
    examples={
        "a service": {"type": "pagerduty", "routing_key": "5f0c2a9d7e4b41c8a3d6f1b20e987c65"},
        "an account in Europe": {
            "type": "pagerduty",
            "routing_key": "9a8b7c6d5e4f40319282736455463728",
            "region": "eu",
            "rate_limit": 600,
        },
    },
    help={
        "invalid_event": Help(
            "PagerDuty does not take this event.", "This is a defect of Stormweir: please report the incident's fields."
        ),
        "bad_routing_key": Help(
            "PagerDuty does not know the key.",
            "Copy the Integration Key of an Events API V2 integration again; look at `region`.",
        ),
        "not_pagerduty": Help(
            "Something else than PagerDuty answered, perhaps a proxy.", "Look at `url`, and at proxies on the way."
        ),
    },
)
