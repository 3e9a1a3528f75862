"""`stormweir heartbeats`: what must report regularly, as records of the topic `control`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.control import Heartbeat
    from streams.cli._control import Change
    from streams.control.state import Control

commands = typer.Typer(no_args_is_help=True, help="List, add and delete heartbeats: what must report regularly.")

HeartbeatId = Annotated[str, typer.Argument(metavar="ID", help="What it is called: letters, digits, `.`, `_` and `-`.")]
Tenant = Annotated[str, typer.Option(help="Whose it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@commands.command("list")
def list_(tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None, json: AsJson = False) -> None:
    """Every heartbeat, its key hidden. `stormweir incidents list` shows which are missing."""
    from schemas.control import Heartbeat
    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, transact

    found = transact(lambda control: (sorted(control.every(Heartbeat).items()), Change()))
    rows = [_row(heartbeat) for (owner, _), heartbeat in found if tenant in (None, owner)]
    if json:
        print_json(rows)
    else:
        print_table(("id", "tenant", "service", "every", "grace", "severity", "enabled", "beats"), rows)


@commands.command()
def add(
    heartbeat_id: HeartbeatId,
    service: Annotated[str, typer.Option("--service", "-s", help="What its incidents are about.")],
    every: Annotated[int, typer.Option(help="Seconds between two beats.")],
    grace: Annotated[int, typer.Option(help="Seconds that a beat may be late.")] = 60,
    severity: Annotated[str, typer.Option(help="Of the incident when it is missing.")] = "critical",
    match: Annotated[
        list[str] | None,
        typer.Option(help="A condition on the alerts that are its beats, instead of an address; may be repeated."),
    ] = None,
    tenant: Tenant = "default",
    create_service: Annotated[bool, typer.Option("--create-service", help="Make the service if it is new.")] = False,
    json: AsJson = False,
) -> None:
    """Add a heartbeat, and show how to beat it. It counts from now: the first beat has to come in time."""
    import os

    from schemas.settings import Settings
    from streams.cli._console import print_json
    from streams.cli._control import Change, transact
    from streams.control import edits

    values = {
        "id": heartbeat_id,
        "tenant": tenant,
        "service": service,
        "every": every,
        "grace": grace,
        "severity": severity,
        "match": match or (),
    }

    def plan(control: Control) -> tuple[Heartbeat, Change]:
        made, records = edits.new_heartbeat(control, values, create_service=create_service)
        return made, Change(records)

    made = transact(plan)
    url = f"{Settings.from_env(os.environ).public_url}/v1/heartbeats/{made.key}" if made.key is not None else None
    if json:
        print_json(_row(made) | {"url": url})
    elif url is not None:
        print(_BY_REQUESTS.format(id=made.id, url=url))
    else:
        print(_BY_ALERTS.format(id=made.id, conditions="\n".join(f"  {line}" for line in made.match)))


@commands.command()
def delete(
    heartbeat_id: HeartbeatId,
    tenant: Tenant = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a heartbeat: nothing is expected any more, and its open incident is resolved."""
    from schemas.control import control_key
    from streams.cli._control import Change, transact
    from streams.control import edits
    from streams.control.transaction import require_unchanged

    found = transact(lambda control: (edits.find_heartbeat(control, tenant, heartbeat_id), Change()))
    if not yes:
        typer.confirm(f"Delete {found.id} of {found.tenant}?", abort=True)

    def plan(control: Control) -> tuple[None, Change]:
        require_unchanged(control, found)
        return None, Change(deletes=[control_key(found)])

    transact(plan)
    print(f"deleted {found.id}")


def _row(heartbeat: Heartbeat) -> dict[str, object]:
    ways = ["requests"] if heartbeat.key is not None else []
    return {
        "id": heartbeat.id,
        "tenant": heartbeat.tenant,
        "service": heartbeat.service,
        "every": heartbeat.every,
        "grace": heartbeat.grace,
        "severity": heartbeat.severity,
        "enabled": heartbeat.enabled,
        "beats": "; ".join([*ways, " and ".join(heartbeat.match)]) if heartbeat.match else "requests",
    }


_BY_REQUESTS = """\
added {id}

Each request to this address is a beat (GET or POST, any body). The address is a secret:
  {url}

From a script, after the work is done:
  curl --fail --silent --show-error --max-time 10 --retry 5 --retry-all-errors {url}

From crontab, only if the job succeeds:
  */5 * * * * /usr/local/bin/job && curl --fail --silent --max-time 10 --retry 5 --retry-all-errors {url}

From Alertmanager, with an alert that always fires (Watchdog of kube-prometheus):
  route:
    routes:
      - matchers: [alertname="Watchdog"]
        receiver: stormweir-heartbeat
        group_interval: 1m
        repeat_interval: 50s
  receivers:
    - name: stormweir-heartbeat
      webhook_configs:
        - url: {url}
          send_resolved: false"""

_BY_ALERTS = """\
added {id}

Each trigger for which these conditions hold is a beat; such alerts open no incident:
{conditions}

Alertmanager must repeat such an alert more often than it is expected. For Watchdog of kube-prometheus, with the
receiver that sends to Stormweir:
  route:
    routes:
      - matchers: [alertname="Watchdog"]
        receiver: stormweir
        group_interval: 1m
        repeat_interval: 50s"""
