"""Which keys seal the secrets on the topic `control`, and how all of them get the first key. Pure."""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from streams.control.secrets import PLAIN
from streams.control.state import Control
from streams.control.transaction import require_opened
from streams.control.write import Change
from streams.process.errors import OperatorError


class Sealed(NamedTuple):
    """How many records one key seals. `state`: `first` seals what is written, `known` opens, `missing` is not here.

    The records whose secrets are in plain text are those of the key `plain`.
    """

    key: str
    state: str
    records: int


class Rotation(NamedTuple):
    """The number of records that are written again, of those that had the first key already, and of those deleted."""

    written: int
    kept: int
    deleted: int


def status(control: Control) -> list[Sealed]:
    """The keys that are here in their order, then missing ones, then plain text; all with their records."""
    counts = Counter(key for seals in control.seals.values() for key in seals)
    known = control.keys.ids
    missing = sorted(counts.keys() - {PLAIN, *known})
    return [
        *(Sealed(key, "known" if place else "first", counts[key]) for place, key in enumerate(known)),
        *(Sealed(key, "missing", counts[key]) for key in missing),
        Sealed(PLAIN, PLAIN, counts[PLAIN]),
    ]


def rotate(control: Control, delete: Collection[str] = ()) -> tuple[Rotation, Change]:
    """Write again every record whose secrets are not all sealed with the first key; a second time there is none.

    Of the records named by `delete`, those whose key is missing are deleted. Raises OperatorError if there are other
    such records, or if there are no keys.
    """
    if not control.keys:
        raise OperatorError("there is no key to seal with: set STORMWEIR_SECRET_KEYS (docs/secrets.md)")
    deletes = sorted(control.unopened().keys() & set(delete))
    require_opened(control, deletes)
    first = frozenset(control.keys.ids[:1])
    stale = [key for key, seals in control.seals.items() if seals != first and key not in deletes]
    kept = len(control.seals) - len(stale) - len(deletes)
    return Rotation(len(stale), kept, len(deletes)), Change([control.records[key] for key in stale], deletes)
