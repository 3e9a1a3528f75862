"""`stormweir.yaml`: what a file declares, whether it is consistent, and what it would change.

The file has a list for each kind of record, under the kind's plural (`services`); its entries are records of
schemas.control. Every problem is reported with its path (`integrations.2.service`).
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from schemas.control import KINDS, AnyRecord, control_key
from streams.control.checks import CHECKS, Problem
from streams.control.follow import masked
from streams.control.kinds import validate
from streams.control.shown import masked_values, shown_secrets
from streams.process.errors import OperatorError

#: The file's lists in the order they are written to the topic: records that others refer to come first.
SECTIONS = tuple(f"{kind}s" for kind, model in KINDS.items() if model.declared)
#: The parts of PyYAML's messages that repeat text of the file; that may be a secret without quotes: `secret: *Xq9...`.
_REPEATED = re.compile(r"(alias|tag|tag handle) ['\"].*")

#: Characters of a value that the differences show.
_SHOWN = 500
_MASK = "is what is shown in place of the secret: write the secret itself"


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
            problems += [f"{path}.{name}: {_MASK}" for name in shown_secrets(record)]
            key = control_key(record)
            if key in records:
                problems.append(f"{path}.id: is the same as in {places[key]}")
            records[key], places[key] = record, path
    if problems:
        raise ConfigurationError(problems)
    return records


def check(declared: Mapping[str, AnyRecord], known: Mapping[str, AnyRecord]) -> list[str]:
    """The warnings about the declared records. Raises ConfigurationError if one has a problem: see `checks`, or it
    refers to something that does not exist.

    `known` are the records that stay on the topic beside the declared ones.
    """
    paths: dict[str, str] = {}
    positions = dict.fromkeys(SECTIONS, 0)
    for key in declared:
        section = _section(key)
        paths[key] = f"{section}.{positions[section]}"
        positions[section] += 1
    found = inconsistencies(declared, known)
    lines = [(f"{paths.get(key) or masked(key)}.{path}: {text}", warning) for key, path, text, warning in found]
    if any(not warning for _, warning in lines):
        raise ConfigurationError(line for line, warning in lines if not warning)
    return [line for line, _ in lines]


def inconsistencies(declared: Mapping[str, AnyRecord], known: Mapping[str, AnyRecord]) -> list[Problem]:
    """What is wrong with the declared records beside the `known` ones, and what they make wrong with these."""
    everything = {**known, **declared}
    found = [
        Problem(key, reference.path, f"no {reference.kind} {reference.id!r}")
        for key, record in declared.items()
        for reference in record.references()
        if f"{reference.kind}/{record.owner}/{reference.id}" not in everything
    ]
    before = {problem for each in CHECKS for problem in each(known)}
    after = (problem for each in CHECKS for problem in each(everything))
    made = (each for each in after if each.key in declared or not (each.warning or each in before))
    return [*found, *made]


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


def _section(key: str) -> str:
    return key.partition("/")[0] + "s"


def _short(value: object) -> str:
    """A value as JSON, its beginning if it is as long as a lookup table."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _differences(old: AnyRecord | None, new: AnyRecord) -> Iterable[str]:
    """A line for each field that differs, or that a new record has. JSON also escapes control characters."""
    shown = {name: _short(value) for name, value in masked_values(new).items()}
    # A field whose name Python does not allow, such as `continue`, is an attribute with another name.
    fields = type(new).model_fields
    attributes = {field.alias or name: name for name, field in fields.items()}
    if old is None:
        defaults = {name: field.default for name, field in fields.items() if not field.is_required()}
        for name, text in shown.items():
            value = getattr(new, attributes[name])
            if name != "id" and value and value != defaults.get(attributes[name]):
                yield f"{name}: {text}"
        return
    before = masked_values(old)
    for name, text in shown.items():
        # What is compared are the values themselves: two secrets look alike when they are masked.
        if getattr(old, attributes[name], None) != getattr(new, attributes[name]):
            yield f"{name}: {_short(before.get(name))} -> {text}"
