"""`stormweir <command>`: one file of this folder per command, found by listing it.

A file `some_name.py` has a function `command`, whose signature and docstring are the command `some-name`, or a
Typer application `commands` with several of them: `stormweir some-name <command>`. A name that Python keeps for itself
ends in `_`, which the command has not.
"""

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, NoReturn

import typer

from streams.process.errors import OperatorError
from streams.process.installation import name_clash, stormweir_version


def build() -> typer.Typer:
    """The application with every command of the folder."""
    app = typer.Typer(
        name="stormweir",
        help="An alert-storm system on Kafka, Faust and ClickHouse.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for module in sorted(iter_modules(__path__), key=lambda module: module.name):
        if not module.name.startswith("_"):
            found, name = import_module(f"{__name__}.{module.name}"), module.name.rstrip("_").replace("_", "-")
            if hasattr(found, "commands"):
                app.add_typer(found.commands, name=name)
            else:
                app.command(name)(found.command)
    return app


def main() -> None:
    """Run the command line. What the operator must change is printed without a traceback, status 2."""
    try:
        from schemas.settings import SettingsError

        app = build()
    except (ImportError, SyntaxError):
        clash = name_clash()
        if clash is None:
            raise
        _fail(clash)
    try:
        app()
    except (OperatorError, SettingsError) as error:
        _fail(str(error))


def _fail(reason: str) -> NoReturn:
    print(f"stormweir: {reason}", file=sys.stderr)
    sys.exit(2)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(stormweir_version())
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""
