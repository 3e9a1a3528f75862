"""Processes that are forked from one that has imported what they need, which takes up to two seconds of CPU time."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.engine.worker", "tests.preloaded"])


def stormweir(
    *arguments: str, environ: Mapping[str, str], given: str = "", seconds: float = 60, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `stormweir` with these arguments, this environment and this standard input. Raises TimeoutExpired."""
    with tempfile.TemporaryDirectory(prefix="stormweir-command-") as name:
        directory = Path(name)
        (directory / "stdin").write_text(given)
        process = FORKS.Process(target=_command, args=(arguments, dict(environ), name, str(cwd or Path.cwd())))
        process.start()
        try:
            process.join(seconds)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired(arguments, seconds)
        finally:
            process.kill()
            process.join()
        printed = ((directory / each).read_text() for each in ("stdout", "stderr"))
        return subprocess.CompletedProcess(arguments, process.exitcode, *printed)


def _command(arguments: tuple[str, ...], environ: Mapping[str, str], directory: str, cwd: str) -> None:
    """The forked process becomes the command."""
    for number, (name, flags) in enumerate(
        (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY | os.O_CREAT), ("stderr", os.O_WRONLY | os.O_CREAT))
    ):
        file = os.open(f"{directory}/{name}", flags, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(cwd)
    sys.argv = ["stormweir", *arguments]
    from streams.cli import main

    main()
