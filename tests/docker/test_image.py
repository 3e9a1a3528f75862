"""The Dockerfile's own steps run in a clean folder, and the wheel they build is complete."""

import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENV = "/opt/stormweir"


def _build_stage() -> list[str]:
    """The instructions of the first stage, one per item."""
    text = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return lines[1 : lines.index("FROM python:3.11-slim")]


def _copy(folder: Path) -> None:
    """What the stage's COPY lines put into its folder."""
    for line in _build_stage():
        if not line.startswith("COPY "):
            continue
        *sources, target = line.removeprefix("COPY ").split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder / target)


@pytest.mark.timeout(600)
def test_install_steps_run_in_a_clean_folder(tmp_path: Path) -> None:
    """Venv and wheel are made as written; the install resolves to exactly the versions of the lock (nothing is
    unpacked: that alone is replaced by pip's dry run, with what pip has cached)."""
    folder = tmp_path / "build"
    folder.mkdir()
    _copy(folder)
    venv = tmp_path / "venv"
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    environ |= {name: value for name, value in os.environ.items() if re.match("pip_|ssl_|https?_proxy", name, re.I)}
    for line in _build_stage():
        instruction, _, rest = line.partition(" ")
        if instruction == "ENV":
            environ |= dict(re.findall(r"(\w+)=(\S+)", rest))
            environ.pop("PIP_NO_CACHE_DIR", None)
        if instruction != "RUN":
            continue
        command = rest.replace(VENV, shlex.quote(str(venv)))
        command = command.replace("pip install ", "pip install --dry-run --quiet --report report.json ")
        done = subprocess.run(
            ["/bin/sh", "-ec", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"

    (wheel,) = (folder / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"streams", "schemas", "sinks"}
    for pattern in ("streams/embedded/kafka-pom.xml", "sinks/clickhouse/migrations/*.sql", "*/licenses/LICENSE"):
        assert any(fnmatch(name, pattern) for name in names), pattern

    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M))
    report = json.loads((folder / "report.json").read_text())
    chosen = {item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]}
    chosen = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in chosen.items()}
    assert "chdb" in chosen, "the image has every command, `clickhouse` too"
    chosen.pop("stormweir")
    assert chosen.items() <= locked.items()
    assert not {"pytest", "mypy", "ruff"} & set(chosen)
