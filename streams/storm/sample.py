"""The sample services of a storm, their senders, and the one receiver of notifications: always the same records."""

from pydantic import HttpUrl

from schemas.control import AnyRecord, Integration, Rule, Service
from sinks.channels.webhook import WebhookDestination
from streams.storm.bodies import integration_id, service_id

RECEIVER = "storm-receiver"
PROVIDERS = ("events_v2", "prometheus")


def sample_records(services: int, receiver_url: str) -> list[AnyRecord]:
    """Control records: `services` sample services, and for each service one integration of each provider.

    A rule routes all of their incidents to `receiver_url`.
    """
    ids = [service_id(index) for index in range(services)]
    return [
        *(Service(id=name, name=f"Storm sample {name}") for name in ids),
        *(
            Integration(
                id=integration_id(provider, index),
                name=f"{name} {provider}",
                type=provider,
                service=name,
                rate_limit="unlimited",
            )
            for index, name in enumerate(ids)
            for provider in PROVIDERS
        ),
        WebhookDestination(id=RECEIVER, url=HttpUrl(receiver_url)),
        Rule(
            id="storm-to-receiver",
            match=('service=~"storm-[0-9]+"',),
            route=(RECEIVER,),
        ),
    ]
