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


def _stage(name: str) -> list[str]:
    """The instructions of one stage, one per item."""
    text = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    (start,) = (place for place, line in enumerate(lines) if line.startswith("FROM ") and line.endswith(f" AS {name}"))
    end = next(place for place in range(start + 1, len(lines)) if lines[place].startswith("FROM "))
    return lines[start + 1 : end]


def _ignored() -> list[str]:
    """Names of what COPY leaves out, wherever it is."""
    lines = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    return [line.removeprefix("**/") for line in lines if line.startswith("**/")]


def _copy(line: str, build: Path, here: Path) -> None:
    """Do what a COPY says; `build` is the folder /build of every stage, `here` the WORKDIR."""
    *sources, target = line.removeprefix("COPY ").split()
    if sources[0].startswith("--from="):
        assert (here / target).samefile(build / Path(sources[1]).relative_to("/build")), line
        return
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, here / target, ignore=shutil.ignore_patterns(*_ignored()), dirs_exist_ok=True
            )
        else:
            shutil.copy(ROOT / source, here / target)


@pytest.mark.timeout(600)
def test_install_steps_run_in_a_clean_folder(tmp_path: Path) -> None:
    """Console, venv and wheel are made as written; the install resolves to exactly the versions of the lock (nothing is
    unpacked: that alone is replaced by pip's dry run, with what pip has cached)."""
    folder = tmp_path / "build"
    venv = tmp_path / "venv"
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    environ |= {
        name: value for name, value in os.environ.items() if re.match("pip_|npm_|ssl_|https?_proxy", name, re.I)
    }
    for line in [*_stage("console"), *_stage("build")]:
        instruction, _, rest = line.partition(" ")
        if instruction == "WORKDIR":
            here = folder / Path(rest).relative_to("/build")
            here.mkdir(parents=True, exist_ok=True)
        if instruction == "COPY":
            _copy(line, folder, here)
        if instruction == "ENV":
            environ |= dict(re.findall(r"(\w+)=(\S+)", rest))
            environ.pop("PIP_NO_CACHE_DIR", None)
        if instruction != "RUN":
            continue
        command = rest.replace(VENV, shlex.quote(str(venv)))
        command = command.replace("pip install ", "pip install --dry-run --quiet --report report.json ")
        done = subprocess.run(
            ["/bin/sh", "-ec", command], cwd=here, env=environ, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"

    (wheel,) = (folder / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"streams", "schemas", "sinks"}
    for pattern in (
        "streams/embedded/kafka-pom.xml", "sinks/clickhouse/migrations/*.sql", "*/licenses/LICENSE",
        "streams/api/static/index.html", "streams/api/static/assets/*.js",
    ):  # fmt: skip
        assert any(fnmatch(name, pattern) for name in names), pattern
    assert not any(name.startswith("streams/console/") for name in names)

    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M))
    report = json.loads((folder / "report.json").read_text())
    chosen = {item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]}
    chosen = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in chosen.items()}
    assert "chdb" in chosen, "the image has every command, `clickhouse` too"
    chosen.pop("stormweir")
    assert chosen.items() <= locked.items()
    assert not {"pytest", "mypy", "ruff"} & set(chosen)
