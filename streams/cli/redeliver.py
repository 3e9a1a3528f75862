"""`stormweir redeliver`."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    destination: Annotated[str, typer.Option("--destination", "-d", help="Whose notifications.")],
    tenant: Annotated[str, typer.Option(help="The destination's tenant.")] = "default",
    since: Annotated[
        str | None, typer.Option(help="Those that were queued since then: 15m, 2h, 7d, or a time. Default: 7 days.")
    ] = None,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="Only those that were given up, and not sent again since then.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Needed to send more than one again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Send a destination's notifications again, under their ids. Status 2 when --yes is missing: nothing is sent.

    What waits together for one incident becomes one message, which tells its newest state.
    """
    import asyncio

    from streams.cli._console import print_json
    from streams.cli._control import Change, kafka, transact
    from streams.cli._when import moment
    from streams.cli.deadletters import put_back
    from streams.control.destinations import find_destination
    from streams.delivery.letters import collect, matching
    from streams.delivery.replay import notifications, redeliver
    from streams.process.errors import OperatorError

    at = moment("--since", since) if since is not None else 0
    found = transact(lambda control: (find_destination(control, tenant, destination), Change()))
    if failed_only:
        letters = asyncio.run(collect(kafka(), matching(since=at, destination=(found.tenant, found.id))))
        put_back(letters, again=False, yes=yes, json=json)
        return

    async def counted() -> int:
        return sum([1 async for _ in notifications(kafka(), found.tenant, found.id, at)])

    count = asyncio.run(counted())
    if count > 1 and not yes:
        raise OperatorError(f"{count} notifications would be sent again: --yes does it; nothing was sent")
    sent = asyncio.run(redeliver(kafka(), found.tenant, found.id, at))
    if json:
        print_json({"sent_again": sent})
    else:
        print(f"{sent} sent again to {found.id}")
