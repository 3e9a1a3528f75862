"""The command line as people run it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.settings import Settings
from streams.cli import doctor
from streams.control.secrets import KEY_FILE, SecretKeys, new_key
from streams.process import installation

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_lists_every_file_of_the_folder() -> None:
    """Each file of streams/cli is a command of that name; `_` at its end is not part of it."""
    done = _run("--help")
    assert done.returncode == 0, done.stderr
    for path in (ROOT / "streams" / "cli").glob("[a-z]*.py"):
        assert f" {path.stem.rstrip('_').replace('_', '-')} " in done.stdout


def test_help_imports_nothing_heavy() -> None:
    """Listing the commands loads no Kafka, no Faust, no database engine."""
    code = (
        "import sys; from streams.cli import build; build();"
        "print(*{'aiokafka', 'aiohttp', 'faust', 'chdb', 'granian', 'clickhouse_connect'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_what_the_operator_must_change_is_one_line() -> None:
    """A wrong setting is one line on stderr and status 2, not a traceback."""
    done = _run("doctor", STORMWEIR_PARTITIONS="many")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "stormweir: STORMWEIR_PARTITIONS='many': a whole number from 1 to 1000 is needed"
    ]


def test_version() -> None:
    """`--version` prints the version and nothing else."""
    done = _run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, installation.stormweir_version())


def test_doctor_names_a_taken_port_and_fails(tmp_path: Path) -> None:
    """doctor's status tells scripts, its lines tell people; what is given by a setting is not checked."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        base = taken.getsockname()[1]
        environ = {"STORMWEIR_PORT_BASE": str(base), "STORMWEIR_DATA_DIR": str(tmp_path)}
        done = _run("doctor", **environ)
        assert done.returncode == 1
        assert f"in use: {base} (gateway)" in done.stdout
        names = {name for name, _, _ in doctor.findings(Settings(kafka="k:9092", clickhouse="http://c:8123"))}
        assert names == {"python", "packages", "data directory", "ports"}


def test_doctor_explains_a_clash_of_package_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution that installed `schemas` is named, with what to do."""
    monkeypatch.setattr(
        installation, "packages_distributions", lambda: {"schemas": ["schemas", "stormweir"], "sinks": ["stormweir"]}
    )
    found = {name: (problem, detail) for name, problem, detail in doctor.findings(Settings())}
    assert found["packages"] == (
        True,
        "schemas is also installed by schemas: install Stormweir into an environment of its own",
    )


def test_doctor_refuses_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    """A data directory below a file is named with its setting."""
    (tmp_path / "file").write_text("")
    found = {name: (problem, detail) for name, problem, detail in doctor.findings(Settings(data_dir=tmp_path / "file"))}
    problem, detail = found["data directory"]
    assert problem
    assert "STORMWEIR_DATA_DIR" in detail


def test_doctor_tells_what_becomes_of_secrets(tmp_path: Path) -> None:
    """The keys by their ids, the file that `up` makes, a warning where secrets stay plain, a problem where keys are
    wrong; never a key."""

    def told(settings: Settings) -> tuple[list[tuple[bool, str]], list[str]]:
        found = [(problem, text) for name, problem, text in doctor.findings(settings) if name == "secret keys"]
        return found, [text for _, text in doctor.warnings(settings)]

    first, second = new_key(), new_key()
    ids = SecretKeys([first, second]).ids
    assert told(Settings(data_dir=tmp_path)) == ([(False, f"`stormweir up` makes one, {tmp_path / KEY_FILE}")], [])
    assert told(Settings(kafka="k:9092", secret_keys=f"{first},{second}")) == (
        [(False, f"{ids[0]} seals, {ids[1]} can only open")],
        [],
    )
    found, warned = told(Settings(kafka="k:9092"))
    assert found == []
    assert len(warned) == 1
    assert "plain text: set STORMWEIR_SECRET_KEYS" in warned[0]
    ((problem, text),), warned = told(Settings(kafka="k:9092", secret_keys=first[:-2]))
    assert (problem, warned) == (True, [])
    assert text.startswith("STORMWEIR_SECRET_KEYS: key 1 is not")
    assert first[:-2] not in text
