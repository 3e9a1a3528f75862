"""What a command that runs a stack prints."""

import io

from rich.console import Console

from streams.cli._progress import Lines


def _printed(*, terminal: bool) -> list[str]:
    file = io.StringIO()
    colours = "standard" if terminal else "auto"
    lines = Lines(Console(file=file, force_terminal=terminal, color_system=colours, highlight=False, width=20))
    lines.progress("worker is ready")
    lines.alarm("worker died, 3 times in a row; its last lines:\n  [bold]boom[/] \x1b]0;title\x07")
    return file.getvalue().splitlines()


def test_alarms_are_red_in_a_terminal() -> None:
    """Only what somebody must look at is red."""
    calm, first, second = _printed(terminal=True)
    assert "\x1b[1;31m" not in calm
    assert "\x1b[1;31m" in first
    assert "boom" in second


def test_without_a_terminal_all_is_plain_text() -> None:
    """No colours, no line breaks of ours, no markup out of a log, and nothing a terminal would obey."""
    assert _printed(terminal=False) == [
        "   0.0 s  worker is ready",
        "   0.0 s  worker died, 3 times in a row; its last lines:",
        "  [bold]boom[/] ?]0;title?",
    ]
