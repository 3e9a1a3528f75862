"""Fetches Apache Kafka's jars into one folder, once, through Maven by their coordinates (kafka-pom.xml)."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from streams.process.errors import OperatorError

VERSION = "4.3.1"
JAVA_AT_LEAST = 17
_POM = Path(__file__).with_name("kafka-pom.xml")
_CHECKOUT = Path(__file__).resolve().parents[2]
Progress = Callable[[str], None]


def silent(_: str) -> None:
    """A `progress` that shows nothing."""


class MissingToolError(OperatorError):
    """Java or Maven is missing, too old, or failed; the message says what to do."""


def java() -> str:
    """The `java` to run, from JAVA_HOME or PATH. Raises MissingToolError for none, or one older than 17."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        where = f"in JAVA_HOME ({home})" if home else "on the PATH"
        raise MissingToolError(f"no java {where}: install a Java {JAVA_AT_LEAST} runtime, or set JAVA_HOME")
    # `java -version` writes `openjdk version "17.0.15" 2025-04-15` to stderr; Java 8 and older say "1.8.0".
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if match is None:
        raise MissingToolError(f"{found} -version does not name a version: install Java {JAVA_AT_LEAST}")
    if int(match[1]) < JAVA_AT_LEAST:
        raise MissingToolError(f"{found} is Java {match[1]}, Kafka {VERSION} needs {JAVA_AT_LEAST} or newer")
    return found


def maven() -> str:
    """The `mvn` to run. Raises MissingToolError for none."""
    found = shutil.which("mvn")
    if found is None:
        raise MissingToolError("no mvn on the PATH: install Maven (it fetches the embedded Kafka once)")
    return found


def default_jars(data_dir: Path) -> Path:
    """The folder of the jars: in `.cache` of the checkout, or of an installed package beside the data directory."""
    root = _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else data_dir.resolve().parent
    return root / ".cache" / f"kafka-{VERSION}"


def archive_of(jars: Path) -> Path:
    """The file of Kafka's loaded classes, beside the folder of the jars (streams.embedded.kafka_archive makes it)."""
    return jars.with_name(f"{jars.name}.jsa")


def fetch_jars(jars: Path, progress: Progress) -> None:
    """Download the jars into the folder `jars` (43 MB), unless the folder exists.

    The folder appears complete or not at all, so an interrupted download is repeated.
    Raises MissingToolError without Maven or when Maven fails.
    """
    if jars.is_dir():
        return
    progress(f"fetching Apache Kafka {VERSION} with Maven (once, 43 MB)")
    partial = jars.with_name(f"{jars.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    goal = [
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={partial.resolve()}",
    ]
    try:
        answer = subprocess.run(  # noqa: S603
            [maven(), "-q", "-B", "-f", str(_POM), *goal], capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            tail = "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-5:])
            raise MissingToolError(f"Maven could not fetch Apache Kafka {VERSION}:\n{tail}")
        try:
            partial.rename(jars)
        except OSError:
            if not jars.is_dir():  # another process was quicker: its folder is as good as ours
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    fetch_jars(default_jars(Path("var")), print)
