"""How a command that runs a stack reports progress: one line per event, with the seconds since the command began."""

import time

from rich.console import Console

from streams.cli._console import printable


class Lines:
    """`progress` prints a line, `alarm` prints one in red. Without a terminal both are plain text."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def progress(self, line: str) -> None:
        """Print a line about the normal course."""
        self._print(line, None)

    def alarm(self, line: str) -> None:
        """Print a line that needs attention."""
        self._print(line, "bold red")

    def _print(self, text: str, style: str | None) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/]", end="  ")
        # Lines of a log may contain control characters that a terminal would obey.
        shown = "\n".join(printable(line) if line else "" for line in text.split("\n"))
        self._console.print(shown, style=style, markup=False, soft_wrap=True)
