"""The output of commands: tables and JSON, without control characters that a terminal would obey."""

import json
from collections.abc import Mapping, Sequence


def print_json(value: object) -> None:
    """Print one JSON document; characters outside ASCII are escaped, control characters too."""
    print(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Print aligned columns under their names; the cells of a row are found by the column's name."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[printable(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def printable(value: object) -> str:
    """The text of a value; each character that is not printable becomes a question mark."""
    text = {True: "yes", False: "no", None: "-"}.get(value) if isinstance(value, bool | None) else str(value)
    return "".join(character if character.isprintable() else "?" for character in text or "-")
