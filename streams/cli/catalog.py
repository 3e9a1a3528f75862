"""`stormweir catalog`."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    slug: Annotated[str | None, typer.Argument(metavar="TYPE", help="Only this one, with how it is set up.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines: everything about every provider.")] = False,
    docs: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a page about each into this folder.")] = None,
) -> None:
    """List the tools that can send alerts, and how each is set up."""
    import os

    from schemas.settings import Settings
    from streams.cli import _pages
    from streams.cli._console import print_json, print_table
    from streams.control import catalogue
    from streams.process.errors import OperatorError
    from streams.providers import PROVIDERS

    if slug is not None and slug not in PROVIDERS:
        raise OperatorError(f"{slug!r} is none of {', '.join(PROVIDERS)}")
    chosen = [provider for provider in PROVIDERS.values() if slug in (None, provider.slug)]
    base_url = Settings.from_env(os.environ).public_url
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
        for name, text in _pages.pages(chosen).items():
            (docs / name).write_text(text)
        print(f"wrote {len(chosen)} pages into {docs}")
    elif json:
        print_json({"providers": [catalogue.entry(provider, base_url) for provider in chosen]})
    elif slug is not None:
        print(_pages.page(chosen[0], base_url))
    else:
        rows = [{"type": provider.slug, "tool": provider.title, "docs": provider.docs_url} for provider in chosen]
        print_table(("type", "tool", "docs"), rows)
