"""The configuration that a rehearsal is about: the one on Kafka, or a file."""

from pathlib import Path

from streams.cli._control import Change, transact
from streams.control import rehearsed
from streams.control.state import Control
from streams.process.errors import OperatorError

#: Stands for the configuration on Kafka.
CURRENT = "current"


def current() -> Control:
    """The configuration on Kafka. Raises OperatorError."""
    return transact(lambda control: (control, Change()))


def alone(file: Path) -> Control:
    """What a file declares and nothing else. Raises OperatorError; a reference to what it does not declare is one."""
    return rehearsed.alone(_text(file))


def applied(file: Path, control: Control, *, prune: bool) -> Control:
    """The configuration as it would be after `stormweir apply` of the file. Raises OperatorError."""
    return rehearsed.applied(_text(file), control, prune=prune)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{file} cannot be read: {error}") from None
