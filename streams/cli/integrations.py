"""`stormweir integrations`: who may send, as records of the topic `control`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.control import Integration
    from streams.cli._control import Change
    from streams.control.state import Control

commands = typer.Typer(no_args_is_help=True, help="List, make and change integrations: who may send alerts.")

Which = Annotated[str, typer.Argument(help="Its key, the first 6 characters of it or more, or its name.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Secret = Annotated[
    str | None, typer.Option("--secret", help="What the sender signs with; - reads it from the standard input.")
]
GenerateSecret = Annotated[bool, typer.Option("--generate-secret", help="Make a secret for signing, and show it once.")]
Signature = Annotated[str | None, typer.Option(help="When requests must be signed: required, if_secret_set or off.")]
RateLimit = Annotated[str | None, typer.Option(help="Requests a minute, or unlimited.")]
TopicArn = Annotated[list[str] | None, typer.Option(help="An SNS topic it may be subscribed to; may be repeated.")]
Mapping = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="A YAML file with the field mapping of a webhook.")
]


@commands.command("list")
def list_(tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None, json: AsJson = False) -> None:
    """Every integration, its key masked."""
    from streams.cli._console import print_json, print_table
    from streams.cli._control import Change, transact

    found = transact(lambda control: (list(control.integrations.values()), Change()))
    found.sort(key=lambda each: (each.tenant, each.service, each.name, each.id))
    rows = [_row(integration) for integration in found if tenant in (None, integration.tenant)]
    if json:
        print_json(rows)
    else:
        print_table(("key", "name", "type", "tenant", "service", "enabled", "rate_limit", "signed"), rows)


@commands.command()
def create(
    slug: Annotated[str, typer.Option("--type", "-t", help="The sender's format; `stormweir catalog` lists them.")],
    service: Annotated[str, typer.Option("--service", "-s", help="What its alerts are about.")],
    name: Annotated[str, typer.Option("--name", "-n", help="For people: Production Datadog monitors.")],
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = "default",
    secret: Secret = None,
    generate_secret: GenerateSecret = False,
    signature: Signature = None,
    rate_limit: RateLimit = None,
    topic_arn: TopicArn = None,
    mapping: Mapping = None,
    create_service: Annotated[bool, typer.Option("--create-service", help="Make the service if it is new.")] = False,
    json: AsJson = False,
) -> None:
    """Make an integration, and show its webhook URL, its headers and a request to try it with."""
    from streams.cli._control import Change, transact
    from streams.control import edits

    options = _options(secret, generate_secret, signature, rate_limit, topic_arn, mapping)
    values = {"type": slug, "service": service, "name": name, "tenant": tenant, **options}

    def plan(control: Control) -> tuple[Integration, Change]:
        made, records = edits.new_integration(control, values, create_service=create_service)
        return made, Change(records)

    _show(transact(plan), json=json, secret=generate_secret)


@commands.command()
def show(which: Which, json: AsJson = False) -> None:
    """An integration's webhook URL, headers, set-up steps and test request; its secret stays hidden."""
    _show(_find(which), json=json)


@commands.command()
def update(
    which: Which,
    name: Annotated[str | None, typer.Option("--name", "-n", help="A new name.")] = None,
    service: Annotated[str | None, typer.Option("--service", "-s", help="Another service.")] = None,
    secret: Secret = None,
    generate_secret: GenerateSecret = False,
    signature: Signature = None,
    rate_limit: RateLimit = None,
    topic_arn: TopicArn = None,
    mapping: Mapping = None,
    json: AsJson = False,
) -> None:
    """Change what is named, leave the rest; an empty --secret takes the secret away."""
    options = _options(secret, generate_secret, signature, rate_limit, topic_arn, mapping)
    named = {field: value for field, value in (("name", name), ("service", service)) if value is not None}
    _show(_changed(which, {**named, **options}), json=json, secret=generate_secret)


@commands.command()
def enable(which: Which) -> None:
    """Take its requests again."""
    print(f"enabled {_title(_changed(which, {'enabled': True}))}")


@commands.command()
def disable(which: Which) -> None:
    """Answer its requests with 403; nothing of them is stored."""
    print(f"disabled {_title(_changed(which, {'enabled': False}))}")


@commands.command()
def rotate(which: Which, json: AsJson = False) -> None:
    """Make its successor with a new key (and secret, if it has one); both are taken until you delete the old one."""
    from streams.cli._control import Change, transact
    from streams.control import edits

    def plan(control: Control) -> tuple[tuple[Integration, Integration], Change]:
        old = edits.find_integration(control, which)
        new = edits.rotated_integration(old)
        return (old, new), Change([new])

    old, new = transact(plan)
    _show(new, json=json, secret=True)
    if not json:
        print(f"\nThe old key works until you run: stormweir integrations delete {old.id[:8]}")


@commands.command("test")
def trial(
    which: Which,
    wait: Annotated[float, typer.Option(min=1, max=300, help="Seconds that each step may take.")] = 30,
    json: AsJson = False,
) -> None:
    """Send a marked test alert, tell what became of it and who was told, and resolve it.

    Status 1 when something did not happen that should have, 2 when no test alert of its type can be made.
    """
    import asyncio
    import os
    import sys
    import time
    from dataclasses import asdict

    from schemas.settings import Settings
    from streams.cli._console import print_json, printable
    from streams.cli._control import Change, transact
    from streams.control import catalogue, edits
    from streams.control.trial import probe
    from streams.delivery.trial import Trial
    from streams.process.errors import OperatorError

    settings, mark = Settings.from_env(os.environ), time.time_ns() // 1_000_000
    control, found = transact(lambda control: ((control, edits.find_integration(control, which)), Change()))
    alert = probe(found, mark)
    if alert is None:
        request = catalogue.setup(found, settings.public_url).test_request
        raise OperatorError(f"a test of the type {found.type} has to come from the tool itself:\n{request}")

    def say(line: str) -> None:
        if not json:
            print(printable(line), flush=True)

    report = asyncio.run(Trial(settings, control, found, alert, mark, wait, say).run())
    if json:
        print_json({"ok": report.ok, **asdict(report)})
    for problem in report.problems:
        print(f"failed: {printable(problem)}", file=sys.stderr)
    raise typer.Exit(0 if report.ok else 1)


@commands.command()
def delete(which: Which, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete an integration: its key is unknown from then on. What it sent stays."""
    from schemas.control import control_key
    from streams.cli._control import Change, transact
    from streams.control.transaction import require_unchanged

    found = _find(which)
    if not yes:
        typer.confirm(f"Delete {_title(found)}?", abort=True)

    def plan(control: Control) -> tuple[None, Change]:
        require_unchanged(control, found)
        return None, Change(deletes=[control_key(found)])

    transact(plan)
    print(f"deleted {_title(found)}")


def _find(which: str) -> Integration:
    from streams.cli._control import Change, transact
    from streams.control import edits

    return transact(lambda control: (edits.find_integration(control, which), Change()))


def _changed(which: str, values: dict[str, Any]) -> Integration:
    from streams.cli._control import Change, transact
    from streams.control import edits

    def plan(control: Control) -> tuple[Integration, Change]:
        old = edits.find_integration(control, which)
        new = edits.changed_integration(control, old, values)
        return new, Change([new] if new != old else [])

    return transact(plan)


def _options(
    secret: str | None,
    generate_secret: bool,
    signature: str | None,
    rate_limit: str | None,
    topic_arn: list[str] | None,
    mapping: Path | None,
) -> dict[str, Any]:
    """The record's fields, from the options that were given."""
    import yaml

    from streams.control import edits

    if secret is not None and generate_secret:
        raise edits.FieldError("signature_secret", "either --secret or --generate-secret")
    if secret == "-":  # noqa: S105 - the word for the standard input
        secret = typer.get_text_stream("stdin").readline().strip()
        if not secret:
            raise edits.FieldError("signature_secret", "the standard input has none")
    values: dict[str, Any] = {}
    if generate_secret:
        values["signature_secret"] = edits.new_secret()
    elif secret is not None:
        values["signature_secret"] = secret or None
    if signature is not None:
        values["signature"] = signature
    if rate_limit is not None:
        values["rate_limit"] = edits.requests_a_minute(rate_limit)
    if topic_arn is not None:
        values["topic_arns"] = topic_arn
    if mapping is not None:
        try:
            values["mapping"] = yaml.safe_load(mapping.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise edits.FieldError("mapping", f"{mapping} is no readable YAML file") from None
    return values


def _row(integration: Integration) -> dict[str, object]:
    from schemas.control import masked_key
    from streams.control import catalogue

    return {
        "key": masked_key(integration.id),
        "name": integration.name,
        "type": integration.type,
        "tenant": integration.tenant,
        "service": integration.service,
        "enabled": integration.enabled,
        "rate_limit": catalogue.rate_limit(integration),
        "signed": integration.signature_secret is not None,
    }


def _title(integration: Integration) -> str:
    from schemas.control import masked_key
    from streams.cli._console import printable

    return f"{masked_key(integration.id)} {printable(integration.name)}"


def _show(integration: Integration, *, json: bool, secret: bool = False) -> None:
    """Print everything about one integration; with `secret`, also the secret that it signs with."""
    import os

    from schemas.settings import Settings
    from streams.cli._console import print_json, printable
    from streams.control import catalogue

    setup = catalogue.setup(integration, Settings.from_env(os.environ).public_url)
    row = _row(integration) | {"key": integration.id}
    if secret:
        row["signature_secret"] = integration.signature_secret
    if json:
        print_json({**row, **setup._asdict()})
        return
    for name, value in row.items():
        print(f"{name.replace('_', ' '):<17}{printable(value)}")
    print(f"{'webhook url':<17}{setup.webhook_url}")
    for header in setup.headers:
        print(f"{'header':<17}{header}")
    print(f"{'sends again':<17}{setup.sends_again}")
    print("\nSet-up:", *(f"  {number}. {step}" for number, step in enumerate(setup.steps, 1)), sep="\n")
    if catalogue.could_sign(integration):
        update = f"stormweir integrations update {integration.id[:8]} --generate-secret"
        print(f"\nIts requests are not signed. If the tool can sign: {update}")
    print(f"\nTry it:\n{setup.test_request}")
