"""Changes to any record, as a page or a program makes them: by the version that was seen, and with secrets as shown.

Pure. Accounts, tokens, API keys and integrations have credentials that are made for them: they are changed elsewhere
(streams.control.accounts, streams.control.edits).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from xxhash import xxh3_64_hexdigest

from schemas.control import (
    KINDS,
    Account,
    AnyRecord,
    ApiKey,
    Destination,
    Integration,
    Tenant,
    Token,
    addresses_of,
    control_key,
    dump,
    secrets_of,
)
from streams.control.destinations import without
from streams.control.document import inconsistencies
from streams.control.follow import masked
from streams.control.kinds import model_of, validate
from streams.control.shown import masked_values
from streams.control.state import Control
from streams.control.write import Change
from streams.process.errors import OperatorError

#: The kinds of records that people write as they are.
PLAIN_KINDS: Mapping[str, type[AnyRecord]] = {
    kind: model for kind, model in KINDS.items() if model not in (Account, Token, ApiKey, Integration)
}


class InvalidError(OperatorError):
    """A record that is not accepted; `problems` are the paths of its fields with what is wrong."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("the record is not valid")
        self.problems = problems


class InUseError(OperatorError):
    """A record that others refer to; the text names some of them."""


class Planned(NamedTuple):
    """A record as it would be, with warnings about it: the paths of fields, and what should be thought about."""

    record: AnyRecord
    warnings: list[tuple[str, str]]


def key_of(kind: str, tenant: str, name: str) -> str:
    """The control key of a record. Raises KeyError for a kind that is unknown or not written as it is."""
    return f"{kind}/{tenant}/{name}" if PLAIN_KINDS[kind].per_tenant else f"{kind}/{name}"


def records_of(control: Control, kind: str, tenant: str) -> dict[str, AnyRecord]:
    """The tenant's records of a kind by id, those of the environment too. Raises KeyError as `key_of`."""
    model = PLAIN_KINDS[kind]
    everything = {**control.environment, **control.records}
    found = [record for record in everything.values() if isinstance(record, model) and record.owner == tenant]
    return {record.id: record for record in sorted(found, key=lambda record: record.id)}


def version_of(record: AnyRecord) -> str:
    """The version of a record: equal for equal records, and nothing of a secret can be read out of it."""
    return xxh3_64_hexdigest(dump(record))


def planned(control: Control, kind: str, tenant: str, name: str, values: Mapping[str, Any]) -> Planned:
    """The tenant's record of this id with these values, checked beside all others.

    A secret that reads as it is shown is the one that the record has already, unless it would be sent elsewhere: who
    may write a record but not see its secrets could have them sent to a server of their own. Raises
    InvalidError, and KeyError as `key_of`.
    """
    old = records_of(control, kind, tenant).get(name)
    owner = {"tenant": tenant} if PLAIN_KINDS[kind] is not Tenant else {}
    wrong = [
        (field, f"is {mine!r} here")
        for field, mine in ({"id": name} | owner).items()
        if field in values and values[field] != mine
    ]
    if PLAIN_KINDS[kind] is Tenant and name != tenant:
        wrong.append(("id", f"is {tenant!r} here"))
    if wrong:
        raise InvalidError(wrong)
    whole = {**values, "id": name} | owner
    kept = {} if old is None else _kept_secrets(kind, whole, old)
    try:
        record = validate(kind, {**whole, **kept})
    except ValidationError as error:
        raise InvalidError(
            [(".".join(map(str, issue["loc"])) or "record", issue["msg"]) for issue in error.errors()]
        ) from None
    if old is not None and kept and addresses_of(record) != addresses_of(old):
        raise InvalidError([(field, "give the secret again: the address has changed") for field in kept])
    key = control_key(record)
    found = inconsistencies({key: record}, {**control.environment, **control.records})
    problems = [(path if of == key else masked(of), text) for of, path, text, warning in found if not warning]
    if problems:
        raise InvalidError(problems)
    return Planned(record, [(path, text) for _, path, text, _ in found])


def removal(control: Control, record: AnyRecord) -> Change:
    """The change that deletes a record; a destination is taken out of the records that refer to it.

    Raises InUseError if others refer to another kind of record, FieldError if one cannot be without the destination.
    """
    if isinstance(record, Destination):
        return without(control, record)
    kind, key = control_key(record).partition("/")[0], control_key(record)
    users = sorted(
        masked(of)
        for of, each in control.records.items()
        if each.owner == record.owner
        and of != key
        and any((reference.kind, reference.id) == (kind, record.id) for reference in each.references())
    )
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        raise InUseError(f"{', '.join(users[:5])}{more} refer to it: change them first")
    return Change(deletes=[key])


def _kept_secrets(kind: str, values: Mapping[str, Any], old: AnyRecord) -> dict[str, Any]:
    """The secrets that read as they are shown."""
    shown, real = masked_values(old), old.model_dump(mode="json")
    return {
        name: real[name]
        for name in secrets_of(model_of(kind, values))
        if name in values and values[name] and values[name] == shown.get(name)
    }
