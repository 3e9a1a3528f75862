"""`stormweir up`, as the pages tell their readers to start it."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from schemas.settings import Settings
from streams.embedded.stack import PROCESSES
from tests.conftest import FreePorts, free_base
from tests.docs.page import ROOT

_READY_S = 150.0
_RUN_S = 60.0


class Reader:
    """Somebody who follows a page: `settings` are those of the stack, on ports from `base` on."""

    def __init__(self, directory: Path, base: int) -> None:
        self.settings = Settings.from_env(
            {
                "STORMWEIR_DATA_DIR": str(directory / "data"),
                "STORMWEIR_PORT_BASE": str(base),
                "STORMWEIR_PARTITIONS": "2",
                "STORMWEIR_ALLOWED_NETWORKS": "127.0.0.0/8",
            }
        )
        self.output = directory / "output"
        programs = directory / "bin"
        programs.mkdir()
        for name, command in (("stormweir", "-m streams.cli"), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            (programs / name).chmod(0o755)
        self.environ: Mapping[str, str] = {
            **os.environ,
            **self.settings.environ(),
            "PATH": f"{programs}:{os.environ['PATH']}",
        }

    def moved(self, text: str) -> str:
        """The text with the default ports replaced by this stack's; the groups of an incident's id are no ports."""
        return re.sub(r"(?<![\w-])84(\d\d)(?![\w-])", lambda port: str(self.settings.port_base + int(port[1])), text)

    def run(self, code: str, *program: str) -> str:
        """What a block prints. `program` reads it from its standard input; the ports are this stack's."""
        moved = self.moved(code)
        done = subprocess.run(
            program, input=moved, cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=_RUN_S
        )
        assert done.returncode == 0, f"{moved}\n{done.stdout}{done.stderr}"
        return done.stdout

    def bash(self, code: str) -> str:
        """What a `bash` block prints."""
        return self.run(code, "bash", "-euo", "pipefail")

    def python(self, code: str) -> str:
        """What a `python` block prints."""
        return self.run(code, sys.executable, "-")

    def sql(self, query: str) -> str:
        """The answer of ClickHouse, tab-separated."""
        url = f"{self.settings.clickhouse_url}/?database={self.settings.clickhouse_database}"
        request = urllib.request.Request(
            url, query.encode(), {"X-ClickHouse-Key": self.settings.clickhouse_token, "Content-Type": "text/plain"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_RUN_S) as answer:
                # The key of a dead letter may be any bytes.
                return str(answer.read(), "utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}\n{error.read().decode()}") from None

    def wait_for(self, query: str, expected: str) -> None:
        """Repeat a query until its answer is this one."""
        deadline = time.monotonic() + _RUN_S
        while (answer := self.sql(query).strip()) != expected:
            assert time.monotonic() < deadline, f"{query}\n{answer}"
            time.sleep(0.1)


R = TypeVar("R", bound=Reader)


@contextmanager
def following(reader: R) -> Iterator[R]:
    """The reader while its `stormweir up` runs, which ends orderly."""
    with reader.output.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "up"], cwd=ROOT, env=reader.environ, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + _READY_S
        while not _ready(reader.settings):
            assert up.poll() is None, reader.output.read_text()
            assert time.monotonic() < deadline, reader.output.read_text()
            time.sleep(0.1)
        yield reader
    finally:
        up.send_signal(signal.SIGTERM)
        status = up.wait(30)
    assert status == 0, reader.output.read_text()


@pytest.fixture(scope="package")
def reader(tmp_path_factory: pytest.TempPathFactory, free_ports: FreePorts) -> Iterator[Reader]:
    """A reader whose `stormweir up` runs as long as these tests."""
    with following(Reader(tmp_path_factory.mktemp("up"), free_base(free_ports))) as reader:
        yield reader


def _ready(settings: Settings) -> bool:
    """Whether every process is ready: they begin together, and none waits for another."""
    try:
        for process in PROCESSES:
            with urllib.request.urlopen(f"http://127.0.0.1:{settings.port(f'admin.{process}')}/readyz", timeout=2):
                pass
    except OSError:
        return False
    return True
