"""`stormweir.yaml`: what a file declares, whether it is consistent, and what it would change.

The file has lists under `tenants`, `services`, `destinations`, `integrations`, `rules` and `apikeys`; their entries are
the records of schemas.control. Every problem is reported with its path (`integrations.2.service`).
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from schemas.control import (
    AnyRecord,
    Destination,
    Integration,
    Rule,
    SecretMark,
    Service,
    Tenant,
    control_key,
    secrets_of,
)
from streams.control.follow import masked
from streams.control.kinds import validate
from streams.process.errors import OperatorError

#: The file's lists in the order they are written to the topic: records that others refer to come first.
SECTIONS = ("tenants", "services", "destinations", "integrations", "rules", "apikeys")
SECRET = "***"  # noqa: S105 - what is shown instead of one


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
        raise ConfigurationError([f"{place}{getattr(error, 'problem', None) or 'is no YAML'}"]) from None
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
    before = {} if old is None else old.model_dump(mode="json")
    secrets = secrets_of(type(new))
    defaults = {name: field.default for name, field in type(new).model_fields.items() if not field.is_required()}
    for name, value in new.model_dump(mode="json").items():
        if name == "id":
            continue
        if old is None:
            if getattr(new, name) and getattr(new, name) != defaults.get(name):
                yield f"{name}: {_shown(value, secrets.get(name))}"
        elif before.get(name) != value:
            yield f"{name}: {_shown(before.get(name), secrets.get(name))} -> {_shown(value, secrets.get(name))}"


def _shown(value: object, secret: SecretMark | None) -> str:
    """JSON, which also escapes control characters; the values of secrets are never shown."""
    if secret is None or not value:
        return json.dumps(value)
    if not secret.url:
        return SECRET
    parts = urlsplit(str(value))
    return json.dumps(f"{parts.scheme}://{parts.hostname}/{SECRET}")
