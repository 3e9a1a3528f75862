"""Lookup tables: read from files, bounded, and used by rules."""

import pytest

from schemas.control import Lookup, Rule, control_key, dump
from streams.control import lookups
from streams.control.state import Control
from streams.process.errors import OperatorError

ROWS = {"db-1": {"rack": "r7", "team": "data, base"}, "web-1": {"rack": "r8"}}


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", b'\xef\xbb\xbfhost,rack,team\r\ndb-1,r7,"data, base"\r\nweb-1,r8,\r\n'),
        (".json", b'[{"host":"db-1","rack":"r7","team":"data, base"},{"host":"web-1","rack":"r8","team":null}]'),
    ],
)
@pytest.mark.parametrize("key", ["host", "labels.host"])
def test_a_file_becomes_a_table(suffix: str, content: bytes, key: str) -> None:
    """Column `key` has the values, the other cells that are not empty become labels."""
    assert lookups.table("hosts", "default", key, content, suffix) == Lookup(id="hosts", key=key, rows=ROWS)


@pytest.mark.parametrize(
    ("suffix", "content", "told"),
    [
        (".csv", b"name,rack\na,b\n", "row 1 has no 'host'"),
        (".csv", b"host,rack\na,b\na,c\n", "row 2 has the same 'host'"),
        (".csv", b"host,rack\na,b,c\n", "row 1 has more or fewer cells"),
        (".csv", b"host,rack\na\n", "row 1 has more or fewer cells"),
        (".csv", b"host,rack\n\xff,b\n", "not UTF-8"),
        (".csv", b'host,rack\n"a"x,b\n', "no CSV"),
        (".json", b"{", "no JSON"),
        (".json", b'{"a": {"rack": "b"}}', "no list"),
        (".json", b'["a"]', "row 1 is no object"),
        (".json", b'[{"host": "a", "rack": ["b"]}]', "row 1 has a value that is neither"),
        (".csv", b"host,rack\n" + b"".join(b"h%d,r\n" % number for number in range(10_001)), "rows: "),
        (".csv", b"host,rack\n" + b"".join(b"h%d,%b\n" % (n, b"r" * 990) for n in range(950)), "900000 bytes"),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(suffix: str, content: bytes, told: str) -> None:
    """With the number of the row."""
    with pytest.raises(OperatorError) as caught:
        lookups.table("hosts", "default", "host", content, suffix)
    assert told in str(caught.value)


def test_the_rules_that_use_a_table_are_known() -> None:
    """Those of its tenant that name it."""
    control = Control()
    for rule in (Rule(id="a", enrich=("hosts",)), Rule(id="b"), Rule(id="c", tenant="acme", enrich=("hosts",))):
        assert control.apply(control_key(rule), dump(rule)) is None
    assert lookups.users(control, Lookup(id="hosts", key="host")) == ["a"]
