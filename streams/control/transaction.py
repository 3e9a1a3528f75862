"""A change that is planned on the current configuration, and refused if that configuration changed meanwhile."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol, TypeVar

from schemas.control import AnyRecord, control_key
from streams.control import environment
from streams.control.audit import Actor, audit_of
from streams.control.follow import ControlReader, masked
from streams.control.secrets import MissingKeysError, SecretKeys
from streams.control.state import Control
from streams.control.write import Change, ConflictError, Values, Write, only_writer, values_of
from streams.process.kafka import Kafka

T = TypeVar("T")
#: It is read twice, the second time while other writers wait.
_WAIT_MS = 20
Plan = Callable[[Control], tuple[T, Change]]


class Reader(Protocol):
    """The configuration as far as it has been read."""

    control: Control

    async def catch_up(self) -> None:
        """Read everything that has been committed until now."""


async def change(
    reader: Reader, only_writer: Callable[[], AbstractAsyncContextManager[Write]], plan: Plan[T], by: Actor
) -> T:
    """Write the change that `plan` returns and its audit, and return the plan's result; an empty change writes nothing.

    Raises ConflictError when another writer changed a record that `plan` changes since it was read. When only other
    records changed, `plan` is called again with the current configuration, so it must have no side effects.
    """
    before = dict(reader.control.records)
    result, wanted = plan(reader.control)
    values = _values(wanted, reader.control)
    if not values:
        return result
    async with only_writer() as write:
        await reader.catch_up()
        if reader.control.records != before:
            _same(values, before, reader.control)
            result, wanted = plan(reader.control)
            values = _values(wanted, reader.control)
            _same(values, before, reader.control)
        if values:
            await write(values, [*audit_of(wanted, reader.control.records, by, time.time_ns() // 1_000_000)])
    return result


async def transact(kafka: Kafka, plan: Plan[T], keys: SecretKeys, by: Actor) -> T:
    """Read the configuration, write what `plan` wants changed, and return its result once every process can read it.

    The audit has every changed record, as changed by `by`, if and only if the configuration has.

    Raises ConflictError as `change` does, aiokafka's errors when Kafka fails; nothing is written then.
    """
    reader = ControlReader(kafka, keys, environment=environment.destinations(os.environ), wait_ms=_WAIT_MS)
    try:
        await reader.catch_up()
        return await change(reader, partial(only_writer, kafka), plan, by)
    finally:
        await reader.stop()


def require_unchanged(control: Control, record: AnyRecord) -> None:
    """Raise ConflictError if the record is not the one that the user saw and agreed to change."""
    key = control_key(record)
    _same([key], {key: record}, control)


def require_opened(control: Control, deletes: Iterable[str] = ()) -> None:
    """Raise MissingKeysError if the topic has records, but for those to delete, whose secrets cannot be opened here.

    Who lacks a key would write what other processes cannot open, and take unopened records for missing ones.
    """
    unopened = control.unopened()
    for key in deletes:
        unopened.pop(key, None)
    if unopened:
        raise MissingKeysError(unopened)


def _values(wanted: Change, control: Control) -> Values:
    values = values_of(wanted, control.keys)
    if values:
        require_opened(control, wanted.deletes)
    return values


def _same(keys: Iterable[str], before: dict[str, AnyRecord], control: Control) -> None:
    changed = sorted(masked(key) for key in keys if before.get(key) != control.records.get(key))
    if changed:
        raise ConflictError(
            f"somebody else changed {', '.join(changed)} meanwhile; nothing was written: look at it and run this again"
        )
