"""A checkout of an earlier commit, to measure it beside this one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.process import CHECKOUT, ContenderError


@contextmanager
def worktree(commit: str, directory: Path) -> Iterator[Path]:
    """A git worktree of the commit that is removed at the end of the block. Raises ContenderError."""
    git = ["git", "-C", str(CHECKOUT), "worktree"]
    made = subprocess.run([*git, "add", "--detach", str(directory), commit], capture_output=True, text=True)
    if made.returncode != 0:
        raise ContenderError(f"commit {commit} cannot be checked out: {made.stderr.strip()[-500:]}")
    try:
        yield directory
    finally:
        subprocess.run([*git, "remove", "--force", str(directory)], capture_output=True, check=False)
