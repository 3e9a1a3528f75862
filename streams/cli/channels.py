"""`stormweir channels`."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    slug: Annotated[str | None, typer.Argument(metavar="TYPE", help="Only this one, with how it is set up.")] = None,
    docs: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a page about each into this folder.")] = None,
) -> None:
    """List the channels that notify people, and how each is set up."""
    from sinks.channels import CHANNELS
    from streams.cli import _channel_pages
    from streams.cli._console import print_table
    from streams.process.errors import OperatorError

    if slug is not None and slug not in CHANNELS:
        raise OperatorError(f"{slug!r} is none of {', '.join(CHANNELS)}")
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
        pages = _channel_pages.pages(CHANNELS.values())
        for name, text in pages.items():
            (docs / name).write_text(text)
        print(f"wrote {len(pages)} pages into {docs}")
    elif slug is not None:
        print(_channel_pages.page(CHANNELS[slug]))
    else:
        print_table(("type", "channel"), [{"type": each.slug, "channel": each.title} for each in CHANNELS.values()])
