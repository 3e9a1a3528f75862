"""The demo's own directory: it starts afresh, and removes nothing that is not a demo's."""

import fcntl
from pathlib import Path

import pytest

from streams.cli.demo import _clear
from streams.embedded.stack import LOCK
from streams.process.errors import OperatorError


def _ignore(line: str) -> None:
    """Progress nobody reads."""


def test_an_earlier_demo_is_removed(tmp_path: Path) -> None:
    """What an earlier demo left goes away; no directory at all is fine."""
    directory = tmp_path / "demo"
    _clear(directory, _ignore)
    (directory / "kafka").mkdir(parents=True)
    (directory / LOCK).touch()
    _clear(directory, _ignore)
    assert not directory.exists()


def test_foreign_files_stay(tmp_path: Path) -> None:
    """A directory with files and without the stack's lock is refused and left as it is."""
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OperatorError, match="not a demo's"):
        _clear(tmp_path, _ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_running_demo_stays(tmp_path: Path) -> None:
    """While another demo holds the lock, nothing is removed."""
    (tmp_path / "kafka").mkdir()
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OperatorError, match="in use"):
            _clear(tmp_path, _ignore)
    assert (tmp_path / "kafka").exists()
