"""The configuration on Kafka, as commands read and write it."""

import asyncio
import os
import sys
from getpass import getuser
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from schemas.control import AnyRecord
from schemas.settings import Settings
from schemas.topics import AUDIT, CONTROL
from streams.control import document, transaction
from streams.control.audit import Actor
from streams.control.secrets import SecretKeys, stored_secrets
from streams.control.state import Control
from streams.control.transaction import Plan
from streams.control.write import Change
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.logs import configure_logging
from streams.process.topics import check_topics, require_topics

__all__ = ["Change", "declared", "kafka", "transact"]

T = TypeVar("T")


def kafka() -> Kafka:
    """The Kafka of the environment's settings. Raises SettingsError."""
    return Kafka.of(Settings.from_env(os.environ))


def declared(file: Path) -> tuple[dict[str, Any], dict[str, AnyRecord]]:
    """The lists of a configuration file, and its records by control key. Raises OperatorError."""
    try:
        parsed = document.parse(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{file} cannot be read: {error}") from None
    return parsed, document.records_of(parsed)


def transact(plan: Plan[T]) -> T:
    """Read the configuration, write what `plan` wants changed, and return its result once every process can read it.

    Warns on stderr when it writes secrets in plain text, because there are no keys. Raises ConflictError when another
    writer changed the same records meanwhile, OperatorError when Kafka fails or has no topic for the configuration, or
    when secrets on the topic cannot be opened; nothing is written then.
    """
    configured, keys = kafka(), SecretKeys.of(Settings.from_env(os.environ))
    configure_logging("control", "warning")
    plain = 0
    existing: dict[str, int] = {}

    def counted(control: Control) -> tuple[T, Change]:
        nonlocal plain
        result, wanted = plan(control)
        records, deletes = [*wanted.records], [*wanted.deletes]
        if records or deletes:
            require_topics(configured, existing, [AUDIT])
        plain = 0 if keys else sum(bool(stored_secrets(type(each), each.model_dump(mode="json"))) for each in records)
        return result, Change(records, deletes)

    async def run() -> T:
        existing.update(await check_topics(configured, [CONTROL]))
        try:
            return await transaction.transact(configured, counted, keys, Actor(f"cli:{getuser()}"))
        except KafkaError as error:
            raise OperatorError(f"Kafka at {configured.bootstrap} failed: {type(error).__name__}: {error}") from None

    result = asyncio.run(run())
    if plain:
        print(
            f"stormweir: warning: the secrets of {plain} records are on Kafka in plain text, because "
            "STORMWEIR_SECRET_KEYS is not set (docs/secrets.md)",
            file=sys.stderr,
        )
    return result
