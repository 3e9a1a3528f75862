"""`stormweir apply`."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Option("--file", "-f", help="The configuration.")] = Path("stormweir.yaml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete what the file does not name.")] = False,
) -> None:
    """Make the configuration what a file says; running processes follow within a second."""
    import asyncio

    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        from streams.process.errors import OperatorError

        raise OperatorError(f"{file} cannot be read: {error}") from None
    asyncio.run(_apply(text, dry_run=dry_run, prune=prune))


async def _apply(text: str, *, dry_run: bool, prune: bool) -> None:
    import os

    from aiokafka.errors import KafkaError

    from schemas.config import Settings
    from schemas.topics import CONTROL
    from streams import configuration
    from streams.control import publish, read
    from streams.process.errors import OperatorError
    from streams.process.logs import configure_logging
    from streams.topics import check_topics

    settings = Settings.from_env(os.environ)
    configure_logging("apply", "warning")
    declared = configuration.load(text)
    await check_topics(settings.bootstrap, [CONTROL])
    try:
        known = (await read(settings.bootstrap)).records
        configuration.check(declared, {} if prune else known)
        changes = configuration.plan(declared, known, prune)
        for line in changes.lines:
            print(line)
        count = len(changes.records) + len(changes.deletes)
        if count and not dry_run:
            await publish(settings.bootstrap, changes.records, changes.deletes)
    except KafkaError as error:
        raise OperatorError(f"Kafka at {settings.bootstrap} failed: {type(error).__name__}") from None
    done = "would change" if dry_run else "changed"
    print(f"{count} of {len(declared) + len(changes.deletes)} records {done}" if count else "nothing to change")
