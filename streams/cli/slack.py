"""`stormweir slack`: the Slack app, the workspaces that it is installed in, and their channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sinks.channels.slack import SlackDestination
    from streams.slack.channels import SlackChannel

commands = typer.Typer(no_args_is_help=True, help="Connect Slack: the app's manifest, workspaces, channels.")

DestinationId = Annotated[str, typer.Argument(metavar="DESTINATION", help="The destination's id.")]
ChannelId = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel's id, C0123456789.")]
Tenant = Annotated[str, typer.Option(help="Whose it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@commands.command()
def manifest(
    socket_mode: Annotated[
        bool, typer.Option("--socket-mode", help="For a gateway that Slack cannot reach: clicks over a socket.")
    ] = False,
) -> None:
    """Print the app's manifest, for https://api.slack.com/apps, *Create New App*, *From a manifest*."""
    import os

    import yaml

    from schemas.settings import Settings
    from streams.slack import installation

    print(
        yaml.safe_dump(installation.manifest(Settings.from_env(os.environ), socket_mode=socket_mode), sort_keys=False),
        end="",
    )


@commands.command()
def connect(destination: DestinationId, channel: ChannelId, tenant: Tenant = "default") -> None:
    """Print a link that installs the app into a workspace, and stores its token with the destination."""
    import os
    import time

    from schemas.settings import Settings
    from sinks.channels.slack import SlackDestination
    from streams.cli._control import Change, transact
    from streams.process.errors import OperatorError
    from streams.slack import installation

    settings = Settings.from_env(os.environ)
    if not settings.slack_client_id or not settings.slack_client_secret:
        raise OperatorError("STORMWEIR_SLACK_CLIENT_ID and STORMWEIR_SLACK_CLIENT_SECRET: the app's are needed")
    fields = {"id": destination, "tenant": tenant, "channel": channel, "bot_token": "xoxb-to-come"}
    _validated(SlackDestination, fields)
    transact(lambda control: (installation.slack_destination(control, tenant, destination), Change()))
    ticket = installation.new_ticket(tenant, destination, channel, time.time())
    print(installation.start_link(settings, ticket))
    print(f"\nOpen it within {installation.TICKET_S // 60} minutes; it works once, for whoever has it.")


@commands.command()
def channels(destination: DestinationId, tenant: Tenant = "default", json: AsJson = False) -> None:
    """List the channels of a destination's workspace; those that the bot is no member of need an invitation."""
    import asyncio
    import os

    from schemas.settings import Settings
    from sinks.outbound import Outbound
    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, transact
    from streams.process.errors import OperatorError
    from streams.slack import installation
    from streams.slack.channels import listed

    found = transact(lambda control: (installation.slack_destination(control, tenant, destination), Change()))
    if found is None:
        raise OperatorError(f"no destination {destination!r}")
    slack = found

    async def run() -> list[SlackChannel]:
        outbound = Outbound(Settings.from_env(os.environ).allowed_networks)
        try:
            return await listed(outbound, slack)
        finally:
            await outbound.close()

    rows = [{**each._asdict(), "chosen": each.id == slack.channel} for each in asyncio.run(run())]
    if json:
        print_json(rows)
    else:
        print_table(("id", "name", "private", "member", "chosen"), rows)


@commands.command()
def choose(destination: DestinationId, channel: ChannelId, tenant: Tenant = "default") -> None:
    """Post to another channel of the workspace from now on."""
    from sinks.channels.slack import SlackDestination
    from streams.cli._control import transact
    from streams.slack import installation

    _validated(SlackDestination, {"id": destination, "channel": channel, "bot_token": "xoxb-the-stored-one"})
    changed = transact(lambda control: installation.moved(control, tenant, destination, channel))
    print(f"{changed.id} posts to {changed.channel}")


def _validated(model: type[SlackDestination], fields: dict[str, str]) -> None:
    from pydantic import ValidationError

    from schemas.control import describe
    from streams.process.errors import OperatorError

    try:
        model.model_validate(fields)
    except ValidationError as error:
        raise OperatorError(describe(error)) from None
