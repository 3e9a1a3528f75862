"""`stormweir import`."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Argument(help="The configuration of Alertmanager.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write; it must not exist.")] = Path(
        "stormweir.yaml"
    ),
) -> None:
    """Make a configuration of an alertmanager.yml, and tell what could not be carried over."""
    from streams.cli._console import printable
    from streams.control.alertmanager import convert
    from streams.process.errors import OperatorError

    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{file} cannot be read: {type(error).__name__}") from None
    imported = convert(text)
    try:
        with output.open("x") as written:
            written.write(imported.text)
    except OSError as error:
        raise OperatorError(f"{output} cannot be written: {error.strerror}") from None
    print("\n".join(printable(line) for line in [f"{output} is written", *imported.report]))
