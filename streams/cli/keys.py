"""`stormweir keys`: API keys of tenants, as records of the topic `control`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.control import ApiKey
    from streams.cli._control import Change
    from streams.control.edits import NewKey
    from streams.control.state import Control

commands = typer.Typer(no_args_is_help=True, help="List, make and revoke API keys.")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="What it is called: letters, digits, `.`, `_` and `-`.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@commands.command("list")
def list_(tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None, json: AsJson = False) -> None:
    """Every API key, by its first characters."""
    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, transact

    found = transact(lambda control: (sorted(control.apikeys.values(), key=lambda key: (key.tenant, key.id)), Change()))
    rows = [_row(key) for key in found if tenant in (None, key.tenant)]
    if json:
        print_json(rows)
    else:
        print_table(("id", "tenant", "name", "prefix", "scopes", "signs"), rows)


@commands.command()
def create(
    key_id: KeyId,
    name: Annotated[str, typer.Option("--name", "-n", help="For people.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = "default",
    rate_limit: Annotated[
        str | None, typer.Option(help="Requests a minute, or unlimited, where no integration of its tenant counts.")
    ] = None,
    create_tenant: Annotated[bool, typer.Option("--create-tenant", help="Make the tenant: a new customer.")] = False,
    json: AsJson = False,
) -> None:
    """Make an API key and its webhook secret, and show both this once. For rotation make a second one."""
    from streams.cli._console import print_json
    from streams.cli._control import Change, transact
    from streams.control import edits

    def plan(control: Control) -> tuple[NewKey, Change]:
        values: dict[str, object] = {"id": key_id, "name": name, "tenant": tenant}
        if rate_limit is not None:
            values["rate_limit"] = edits.requests_a_minute(rate_limit)
        made = edits.new_key(control, values, create_tenant=create_tenant)
        return made, Change(made.records)

    made = transact(plan)
    row = {"tenant": tenant, "id": key_id, "key": made.key, "webhook_secret": made.record.webhook_secret}
    if json:
        print_json(row)
        return
    for label, value in row.items():
        print(f"{label.replace('_', ' '):<16}{value}")
    print("\nThe key and the secret are not shown again. Requests carry the key as")
    print("  /api/events                      Authorization: Bearer <key>")
    print("  /v2/alerts                       Authorization: GenieKey <key>")
    print(f"  /v1/webhooks/{tenant}/<provider>  X-API-Key: <key>")
    print("  the last one also X-Webhook-Signature: <HMAC-SHA256 of the body with the webhook secret, hexadecimal>")


@commands.command()
def revoke(key_id: KeyId, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete an API key: requests with it are answered 401 from then on."""
    from schemas.control import control_key
    from streams.cli._control import Change, transact
    from streams.control import edits
    from streams.control.transaction import require_unchanged

    found = transact(lambda control: (edits.find_key(control, key_id), Change()))
    if not yes:
        typer.confirm(f"Revoke {found.id} ({found.prefix}...) of the tenant {found.tenant}?", abort=True)

    def plan(control: Control) -> tuple[None, Change]:
        require_unchanged(control, found)
        return None, Change(deletes=[control_key(found)])

    transact(plan)
    print(f"revoked {found.id}")


def _row(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "prefix": f"{key.prefix}..." if key.prefix else "",
        "scopes": " ".join(key.scopes),
        "signs": key.webhook_secret is not None,
    }
