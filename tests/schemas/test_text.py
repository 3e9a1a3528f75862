"""Text and JSON that are nearly right."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.text import charset, foreign_charset, in_utf8, repaired

LIMIT_S = 2.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_good_json_means_the_same_after_a_repair(value: object) -> None:
    """A repair changes nothing that could be read, with escapes of everything and of nothing."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        sent = text.encode("utf-8", "replace")
        assert json.loads(repaired(sent)) == json.loads(sent)


@given(st.binary(max_size=300), st.booleans())
def test_anything_gives_utf8(body: bytes, quotes: bool) -> None:
    """Whatever the bytes are, the result is text, and the same each time."""
    found = repaired(body, quotes=quotes)
    found.decode()
    in_utf8(body).decode()
    assert found == repaired(body, quotes=quotes)


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (b'{"a":"x","b":[1,],}', {"a": "x", "b": [1]}),
        (b'[NaN,-Infinity,Infinity,"NaN",nan]', [None, None, None, "NaN", None]),
        (b'"\\ud83d\\ude00 \\ud83d \\ude00 \\\\ud83d"', "\U0001f600 � � \\ud83d"),
        (b'"C:\\Windows\\temp \\\\x"', "C:\\Windows\temp \\x"),
        (b'"a\nb\x00"', "a\nb\0"),
        (b'"cut \xf0\x9f\x98"', "cut �"),
        (b'"\xc3\xa4 and \xe4"', "ä and ä"),
        ('"ä"'.encode("utf-16"), "ä"),
        ('"ä"'.encode("utf-16-be"), "ä"),
        ('["ä"]'.encode("utf-32"), ["ä"]),
    ],
)
def test_what_a_repair_makes(sent: bytes, value: object) -> None:
    """Each kind of flaw, as it was meant."""
    assert json.loads(repaired(sent)) == value


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (b'{"a":"say "hi" now","b":"c"}', {"a": 'say "hi" now', "b": "c"}),
        (b'{"a":"[{"b":"c"}]","d":"{"e":[1]}","f":1}', {"a": [{"b": "c"}], "d": {"e": [1]}, "f": 1}),
        (b'{"a":"","b":"\\"ok\\"","c":"a\nb"}', {"a": "", "b": '"ok"', "c": "a\nb"}),
    ],
)
def test_quotation_marks_of_templates_are_text(sent: bytes, value: object) -> None:
    """A mark that nothing follows which may follow a string belongs to the text; JSON in marks is JSON."""
    assert json.loads(repaired(sent, quotes=True)) == value


@pytest.mark.parametrize(
    "body",
    [b'"' * 250_000, b"\\" * 250_000, b'{"a":"' + b"\\" * 250_000, b':"[{"a":' * 40_000, b':"[[[[' * 50_000,
     b", " * 125_000, b'"a" ' * 60_000, b'{"a":"[1",' * 25_000],
)  # fmt: skip
def test_a_repair_takes_no_time_that_somebody_could_use(body: bytes) -> None:
    """Bodies made to be slow take time in proportion to their size."""
    began = time.perf_counter()
    repaired(body, quotes=True)
    assert time.perf_counter() - began < LIMIT_S


def test_only_charsets_are_charsets() -> None:
    """Python's codecs that are no charsets, and names that nobody knows, are none."""
    for name in ("unicode_escape", "punycode", "idna", "rot13", "hex", "zlib", "gzip", "", "utf-9", "undefined"):
        assert charset(name) is None
    assert foreign_charset('text/plain; CharSet="windows-1252"; x=y') == "cp1252"
    assert foreign_charset("application/json; charset=utf-8") is None
    assert foreign_charset("application/json; charset=nonsense") is None
