"""What became of a file's parts, for the people who go on with the result. It never has a secret's value."""

import re

_MARK = "STORMWEIR_FILL_IN_"
#: A marked value at the end of a line of YAML.
_MARKED = re.compile(rf"(['\"]?){_MARK}(\d+)\1$", re.MULTILINE)


class Report:
    """`fills` are the places of values to fill in, `losses` what is not carried over, `differences` what behaves so."""

    def __init__(self) -> None:
        self.fills: list[str] = []
        self.losses: list[str] = []
        self.differences: dict[str, str] = {}

    def fill_in(self, path: str) -> str:
        """A mark for a value that people fill in from this place of the file."""
        self.fills.append(path)
        return f"{_MARK}{len(self.fills) - 1}"

    def lost(self, path: str, reason: str) -> None:
        """This is not carried over."""
        self.losses.append(f"{path}: {reason}")

    def differs(self, what: str, how: str) -> None:
        """This behaves otherwise; told once."""
        self.differences[what] = how

    def marked(self, text: str) -> str:
        """YAML with `null` for each mark, and beside it where the value is; `stormweir apply` refuses it unfilled."""
        return _MARKED.sub(lambda found: f"null  # FILL IN: {self.fills[int(found[2])]}", text)

    def lines(self) -> list[str]:
        """All of it, for people."""
        parts = (
            ("to fill in (each is marked in the file, and refused by `stormweir apply` until it is)", self.fills),
            ("not carried over", self.losses),
            ("behaves differently", [f"{what}: {how}" for what, how in self.differences.items()]),
        )
        return [line for heading, found in parts if found for line in (f"{heading}:", *(f"  {each}" for each in found))]
