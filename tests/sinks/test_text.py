"""Cuts of text: within the limit, and never through a character as people read it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.text import cut


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("as it is", 8, "as it is"),
        ("one too long", 11, "one too lo…"),
        ("ab\U0001f6a8cd", 3, "ab…"),
        ("a\U0001f469\U0001f3fd\u200d\U0001f692b", 5, "a…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", 3, "\U0001f1e9\U0001f1ea…"),
        ("z" + "\u0336" * 50, 10, "z" + "\u0336" * 8 + "…"),
        ("abc", 1, "…"),
    ],
)
def test_characters_stay_whole(text: str, most: int, shown: str) -> None:
    """Emoji with their modifiers, accents and flags are kept or left out whole, unless one alone is too long."""
    assert cut(text, most) == shown


@given(st.text(), st.integers(1, 40))
def test_the_limit_holds(text: str, most: int) -> None:
    """The result is the text itself or a beginning of it within the limit."""
    shown = cut(text, most)
    assert len(shown) <= most
    assert shown == text or text.startswith(shown.removesuffix("…"))
