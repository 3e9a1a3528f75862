"""A configuration that is not on Kafka: what a file declares, alone or beside what is there. Pure."""

from collections.abc import Iterable, Mapping

from schemas.control import AnyRecord, control_key, dump
from streams.control import document
from streams.control.state import Control


def alone(text: str) -> Control:
    """What a file declares and nothing else; it may refer to nothing else. Raises ConfigurationError."""
    declared = document.load(text)
    document.check(declared, {})
    return _control(declared.values())


def applied(text: str, control: Control, *, prune: bool = False) -> Control:
    """The configuration as it would be after `stormweir apply` of the file. Raises ConfigurationError."""
    parsed = document.parse(text)
    declared = document.records_of(parsed)
    changes = document.plan(declared, control.records, prune=parsed if prune else ())
    staying = {key: record for key, record in control.records.items() if key not in changes.deletes}
    document.check(declared, {**control.environment, **staying})
    return _control({**staying, **declared}.values(), control.environment)


def _control(records: Iterable[AnyRecord], environment: Mapping[str, AnyRecord] | None = None) -> Control:
    control = Control(environment=environment)
    for record in records:
        refused = control.apply(control_key(record), dump(record))
        assert refused is None, refused
    return control
