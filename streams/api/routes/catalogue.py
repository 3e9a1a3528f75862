"""What can send alerts, and what can notify people: everything derives from the providers' and channels' own files."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from schemas.control import Destination, secrets_of
from sinks.channels import CHANNELS
from streams.api.parts import PartsOf
from streams.control import catalogue
from streams.providers import PROVIDERS

router = APIRouter()


class ProviderShown(BaseModel):
    """A format: how its sender is set up (`<key>` stands for a key), and which of its fields become ours."""

    slug: str
    title: str
    docs_url: str
    webhook_url: str
    methods: list[str]
    headers: list[str]
    addresses: list[str]
    steps: list[str]
    sends_again: str
    test_request: str
    tenant_webhook_url: str
    severity: str
    keys: str
    rate_limit: int | str
    fields: dict[str, str]


class ProvidersShown(BaseModel):
    """Every format."""

    items: list[ProviderShown]


class ChannelShown(BaseModel):
    """A channel: the schema of its destinations, the names of its own fields, its set-up, examples and errors."""

    slug: str
    title: str
    json_schema: dict[str, Any]
    fields: list[str]
    secret_fields: list[str]
    steps: list[str]
    examples: dict[str, dict[str, Any]]
    errors: dict[str, dict[str, str]]


class ChannelsShown(BaseModel):
    """Every channel."""

    items: list[ChannelShown]


@router.get("/providers")
async def list_providers(parts: PartsOf) -> ProvidersShown:
    """The formats of alerts that are taken."""
    url = parts.settings.public_url
    return ProvidersShown(items=[ProviderShown(**catalogue.entry(provider, url)) for provider in PROVIDERS.values()])


@router.get("/channels")
async def list_channels() -> ChannelsShown:
    """The ways to notify people."""
    return ChannelsShown(
        items=[
            ChannelShown(
                slug=channel.slug,
                title=channel.title,
                json_schema=channel.settings.model_json_schema(),
                fields=[name for name in channel.settings.model_fields if name not in Destination.model_fields],
                secret_fields=sorted(secrets_of(channel.settings)),
                steps=list(channel.setup),
                examples={name: dict(example) for name, example in channel.examples.items()},
                errors={reason: {"means": each.means, "do": each.do} for reason, each in channel.help.items()},
            )
            for channel in CHANNELS.values()
        ]
    )
