"""`stormweir doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.settings import Settings
    from streams.control.state import Control
    from streams.process.diagnose import Finding


class Process(StrEnum):
    """As in streams.process.acls.ACLS."""

    GATEWAY = "gateway"
    WORKER = "worker"
    WRITER = "writer"
    NOTIFIER = "notifier"
    CONTROL = "control"
    REJECTIONS = "rejections"
    DELIVERIES = "deliveries"
    DESTINATIONS = "destinations"
    DEADLETTERS = "deadletters"
    STORM = "storm"
    TOPICS = "topics"


DEFAULT = (Process.GATEWAY, Process.WORKER, Process.WRITER, Process.NOTIFIER, Process.CONTROL)


def command(
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Check the way to Kafka instead: TLS, credentials, ACLs, topics.")
    ] = False,
    process: Annotated[
        list[Process] | None,
        typer.Option(help="With --kafka: whose ACLs to check, once for each. Default: all that serve, and control."),
    ] = None,
) -> None:
    """Check this machine: Python, Java, Maven, ports, data directory, and that no other package shadows Stormweir's.

    With --kafka, connect to Kafka with these settings, and check every ACL.
    """
    import os

    from rich.console import Console

    from schemas.settings import Settings

    console = Console(highlight=False)
    settings = Settings.from_env(os.environ)
    failed = False

    def show(mark: str, name: str, detail: str) -> None:
        console.print(f"{mark} {name:<16}", end=" ")
        console.print(detail, markup=False, soft_wrap=True)

    found = kafka_findings(settings, process or DEFAULT) if kafka else findings(settings)
    for name, problem, detail in found:
        failed |= problem
        show("[red]fail[/]" if problem else "[green] ok [/]", name, detail)
    for name, detail in warnings(settings):
        show("[yellow]warn[/]", name, detail)
    raise typer.Exit(1 if failed else 0)


def kafka_findings(settings: Settings, processes: Sequence[Process]) -> list[Finding]:
    """The findings about Kafka, from asking it."""
    import asyncio

    from streams.control.follow import read
    from streams.control.secrets import SecretKeys
    from streams.process.diagnose import Finding, diagnose
    from streams.process.kafka import Kafka
    from streams.process.logs import configure_logging

    configure_logging("doctor", "error")
    keys = SecretKeys.of(settings)

    async def run() -> list[Finding]:
        kafka = Kafka.of(settings)
        found = [finding async for finding in diagnose(kafka, [each.value for each in processes])]
        # Without access to Kafka and to `control` there is nothing to read.
        readable = Process.CONTROL in processes and not any(finding.problem for finding in found)
        return [*found, Finding("secrets", *_sealed(await read(kafka, keys)))] if readable else found

    return asyncio.run(run())


def _sealed(control: Control) -> tuple[bool, str]:
    """Whether a secret on the topic cannot be opened, and how many are sealed and plain."""
    from streams.control.secrets import PLAIN, MissingKeysError

    if unopened := control.unopened():
        return True, str(MissingKeysError(unopened))
    plain = sum(PLAIN in seals for seals in control.seals.values())
    advice = ": `stormweir secrets rotate` seals them" if plain and control.keys else ""
    return False, f"{len(control.seals) - plain} records are sealed, {plain} have secrets in plain text{advice}"


def findings(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    """Each check as (name, whether it is a problem, what was found and what to do)."""
    yield ("python", *_python())
    yield ("packages", *_packages())
    yield ("data directory", *_data_dir(settings))
    if not settings.kafka:
        from streams.embedded.kafka_jars import default_jars, java, maven

        jars = default_jars(settings.data_dir / "kafka")
        yield ("java", *_attempt(java))
        yield ("kafka", False, f"in {jars}") if jars.is_dir() else ("maven", *_attempt(maven))
    if not settings.clickhouse:
        yield ("chdb", *_chdb())
    if (keys := _keys(settings)) is not None:
        yield ("secret keys", *keys)
    yield from _ports(settings)


def warnings(settings: Settings) -> Iterator[tuple[str, str]]:
    """What works and should not stay so, as (name, what to do)."""
    if _keys(settings) is None:
        plain = "secrets are stored on Kafka in plain text: set STORMWEIR_SECRET_KEYS"
        yield "secret keys", f"{plain} to a key that `stormweir secrets new-key` makes (docs/secrets.md)"


def _attempt(find: Callable[[], str]) -> tuple[bool, str]:
    from streams.process.errors import OperatorError

    try:
        return False, find()
    except OperatorError as error:
        return True, str(error)


def _python() -> tuple[bool, str]:
    import sys

    found = ".".join(str(part) for part in sys.version_info[:3])
    old = sys.version_info < (3, 11)
    return old, f"{found}: 3.11 or newer is needed" if old else found


def _packages() -> tuple[bool, str]:
    from streams.process.installation import PACKAGES, name_clash

    clash = name_clash()
    return (False, f"{', '.join(PACKAGES)} are Stormweir's") if clash is None else (True, clash)


def _data_dir(settings: Settings) -> tuple[bool, str]:
    import os
    import shutil

    path = settings.data_dir.resolve()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return True, f"{existing} is not a writable directory: choose another with STORMWEIR_DATA_DIR"
    free = shutil.disk_usage(existing).free / 1e9
    return free < 1, f"{path}, {free:.1f} GB free{' (too little)' if free < 1 else ''}"


def _chdb() -> tuple[bool, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return False, version("chdb")
    except PackageNotFoundError:
        return True, "chdb is missing: install stormweir[embedded], or set STORMWEIR_CLICKHOUSE"


def _keys(settings: Settings) -> tuple[bool, str] | None:
    """The keys of this machine; None if there are none and nobody will make one."""
    from schemas.settings import SettingsError
    from streams.control.secrets import SecretKeys, key_file

    try:
        keys = SecretKeys.of(settings)
    except SettingsError as error:
        return True, str(error)
    if keys:
        first, *others = keys.ids
        return False, f"{first} seals" + (f", {', '.join(others)} can only open" if others else "")
    path = key_file(settings)
    return None if path is None else (False, f"`stormweir up` makes one, {path}")


def _ports(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    from schemas.settings import PORTS
    from streams.process.ports import is_free

    skipped = ("kafka",) * bool(settings.kafka) + ("clickhouse",) * bool(settings.clickhouse)
    roles = [role for role in PORTS if role.split(".")[0] not in skipped and role.split(".")[-1] not in skipped]
    taken = [f"{settings.port(role)} ({role})" for role in roles if not is_free(settings.port(role), settings.host)]
    if taken:
        yield "ports", True, f"in use: {', '.join(taken)}; choose others with STORMWEIR_PORT_BASE"
    else:
        yield "ports", False, f"{len(roles)} ports from {settings.port_base} are free"
