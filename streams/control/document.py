"""`stormweir.yaml`: what a file declares, whether it is consistent, and what it would change.

The file has lists under `tenants`, `services`, `destinations`, `integrations`, `rules` and `apikeys`; their entries are
the records of schemas.control. Every problem is reported with its path (`integrations.2.service`).
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from schemas.control import (
    AnyRecord,
    Destination,
    Integration,
    Rule,
    Service,
    Tenant,
    control_key,
)
from streams.control.follow import masked
from streams.control.kinds import validate
from streams.control.shown import masked_values
from streams.process.errors import OperatorError

#: The file's lists in the order they are written to the topic: records that others refer to come first.
SECTIONS = ("tenants", "services", "destinations", "integrations", "rules", "apikeys")
#: The parts of PyYAML's messages that repeat text of the file; that may be a secret without quotes: `secret: *Xq9...`.
_REPEATED = re.compile(r"(alias|tag|tag handle) ['\"].*")


class ConfigurationError(OperatorError):
    """The file cannot be applied; one line per problem, without the values that could be secrets."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("\n".join(["the configuration is not valid:", *(f"  {problem}" for problem in problems)]))


class Changes(NamedTuple):
    """The records to write and the keys to delete; `lines` describe the changes to people, with secrets masked."""

    records: list[AnyRecord]
    deletes: list[str]
    lines: list[str]


def load(text: str) -> dict[str, AnyRecord]:
    """The declared records by control key, each valid by itself. Raises ConfigurationError."""
    return records_of(parse(text))


def parse(text: str) -> dict[str, Any]:
    """The file's lists by name, not yet checked. Raises ConfigurationError if the text is not such a mapping."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or "is no YAML"
        raise ConfigurationError([place + _REPEATED.sub(r"\1: put such a text into quotes", problem)]) from None
    except (ValueError, LookupError, AttributeError):  # of PyYAML's constructors of numbers, dates and tagged values
        raise ConfigurationError(["a number or a date in the file is none: put such a text into quotes"]) from None
    except RecursionError:
        raise ConfigurationError(["the file is nested too deeply"]) from None
    if not isinstance(document, dict):
        raise ConfigurationError([f"the file is a mapping with lists under {', '.join(SECTIONS)}"])
    return document


def records_of(document: Mapping[str, Any]) -> dict[str, AnyRecord]:
    """The records of the file's lists by control key. Raises ConfigurationError with every problem."""
    problems = [f"{name}: unknown, known are {', '.join(SECTIONS)}" for name in document if name not in SECTIONS]
    records: dict[str, AnyRecord] = {}
    places: dict[str, str] = {}
    for section in SECTIONS:
        entries = document.get(section) or []
        if not isinstance(entries, list):
            problems.append(f"{section}: a list is needed")
            continue
        for index, entry in enumerate(entries):
            path = f"{section}.{index}"
            try:
                record = validate(section.removesuffix("s"), entry)
            except ValidationError as error:
                problems += [f"{'.'.join([path, *map(str, issue['loc'])])}: {issue['msg']}" for issue in error.errors()]
                continue
            key = control_key(record)
            if key in records:
                problems.append(f"{path}.id: is the same as in {places[key]}")
            records[key], places[key] = record, path
    if problems:
        raise ConfigurationError(problems)
    return records


def check(declared: Mapping[str, AnyRecord], known: Mapping[str, AnyRecord]) -> None:
    """Raise ConfigurationError if a declared record refers to something that does not exist.

    `known` are the records that stay on the topic beside the declared ones.
    """
    from streams.policy import rules
    from streams.providers import PROVIDERS

    everything = {**known, **declared}.values()
    services = {(record.tenant, record.id) for record in everything if isinstance(record, Service)}
    destinations = {(record.tenant, record.id) for record in everything if isinstance(record, Destination)}
    problems: list[str] = []
    positions = dict.fromkeys(SECTIONS, 0)
    for key, record in declared.items():
        section = _section(key)
        path = f"{section}.{positions[section]}"
        positions[section] += 1
        problems += [
            f"{path}.{place}: no destination {name!r}"
            for place, name in _destinations_of(record)
            if (record.id if isinstance(record, Tenant) else record.tenant, name) not in destinations
        ]
        match record:
            case Integration():
                if record.type not in PROVIDERS:
                    problems.append(f"{path}.type: {record.type!r} is none of {', '.join(PROVIDERS)}")
                if (record.tenant, record.service) not in services:
                    problems.append(f"{path}.service: no service {record.service!r}")
            case Rule():
                for index, matcher in enumerate(record.match):
                    try:
                        rules.check([matcher])
                    except ValueError as error:
                        problems.append(f"{path}.match.{index}: {error}")
    if problems:
        raise ConfigurationError(problems)


def plan(declared: Mapping[str, AnyRecord], known: Mapping[str, AnyRecord], prune: Collection[str] = ()) -> Changes:
    """The changes that make the topic match the file.

    In the lists named by `prune`, records that the file does not name are deleted. Other lists keep their records, so a
    file without integrations does not touch those that `stormweir integrations` created.
    """
    records: list[AnyRecord] = []
    lines: list[str] = []
    for key, record in declared.items():
        old = known.get(key)
        if old == record:
            continue
        records.append(record)
        lines.append(f"{'+' if old is None else '~'} {masked(key)}")
        lines += [f"    {line}" for line in _differences(old, record)]
    deletes = [key for key in known if key not in declared and _section(key) in prune]
    # The reverse of the order of writing: records that refer to others are deleted first.
    deletes.sort(key=lambda key: SECTIONS.index(_section(key)), reverse=True)
    return Changes(records, deletes, [*lines, *(f"- {masked(key)}" for key in deletes)])


def _destinations_of(record: AnyRecord) -> Iterator[tuple[str, str]]:
    """The destinations that a record names, each with its path inside of the record."""
    lists: dict[str, Iterable[str]] = {}
    match record:
        case Tenant():
            lists = {f"severity_routes.{severity}": names for severity, names in record.severity_routes.items()}
        case Service():
            lists = {"destinations": record.destinations}
        case Rule():
            lists = {"route": record.route}
        case Destination() if record.fallback is not None:
            yield "fallback", record.fallback
    if isinstance(record, Service | Rule):
        for index, hours in enumerate(record.quiet_hours):
            lists[f"quiet_hours.{index}.destinations"] = hours.destinations
    for path, names in lists.items():
        for index, name in enumerate(names):
            yield f"{path}.{index}", name


def _section(key: str) -> str:
    return key.partition("/")[0] + "s"


def _differences(old: AnyRecord | None, new: AnyRecord) -> Iterable[str]:
    """A line for each field that differs, or that a new record has. JSON also escapes control characters."""
    shown = {name: json.dumps(value) for name, value in masked_values(new).items()}
    if old is None:
        defaults = {name: field.default for name, field in type(new).model_fields.items() if not field.is_required()}
        for name, text in shown.items():
            value = getattr(new, name)
            if name != "id" and value and value != defaults.get(name):
                yield f"{name}: {text}"
        return
    before = masked_values(old)
    for name, text in shown.items():
        # What is compared are the values themselves: two secrets look alike when they are masked.
        if getattr(old, name, None) != getattr(new, name):
            yield f"{name}: {json.dumps(before.get(name))} -> {text}"
