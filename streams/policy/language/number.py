"""What counts as a number in a condition: a decimal number, with or without an exponent, and nothing around it."""

import re

#: In the common syntax of Python and RE2. Lengths are limited so that every number is a finite float.
NUMBER_PATTERN = r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?"
NUMBER = re.compile(NUMBER_PATTERN)


def number(text: str) -> float | None:
    """The number, None if the text is none.

    >>> number("9.5e1"), number("95 %")
    (95.0, None)
    """
    return float(text) if NUMBER.fullmatch(text) else None
