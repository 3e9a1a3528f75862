"""docs/peers.md: every test that it names exists, and every test about a mistake of others is named."""

import ast
import re

import pytest

from tests.docs.page import ROOT, codes, read, section, table

PAGE = read("docs/peers.md")
SECTIONS = ("Bodies", "Incidents and people", "Storage and transport")
ROWS = [row for heading in SECTIONS for row in table(section(PAGE, heading))]
#: Files whose every test is about a mistake of others.
FILES = ("providers/test_peer_mistakes.py", "stages/test_peer_mistakes.py")


def names_of(file: str) -> dict[str, str]:
    """The tests of a file below `tests`, as pytest names them, with their docstrings."""
    found: dict[str, str] = {}
    for node in ast.parse((ROOT / "tests" / file).read_text()).body:
        each = [(f"{node.name}::", part) for part in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        for prefix, part in each:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name.startswith("test_"):
                found[prefix + part.name] = ast.get_docstring(part) or ""
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1]}"[:60])
def test_what_a_row_names_exists(row: list[str]) -> None:
    """The last cell is one test, or a file of tests."""
    (name,) = codes(row[2])
    file, _, test = name.partition("::")
    found = names_of(file)
    assert found
    assert not test or test in found


@pytest.mark.parametrize("file", FILES)
def test_every_test_about_others_is_listed_and_says_who(file: str) -> None:
    """The system of a row begins the docstring of its test."""
    rows = {codes(row[2])[0]: row[0] for row in ROWS}
    for test, text in names_of(file).items():
        assert re.match(r"(Keep|OpsKnight|Alertmanager|OnCall|Dispatch|GoAlert)\b", text), test
        assert rows[f"{file}::{test}"].split()[0].strip(",") in text, test
