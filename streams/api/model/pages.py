"""What the list of incidents answers from: pages in an order, searches, and counts for facets.

Each query gives one row (streams.api.model.store says why). A page goes on after the last incident of the page before,
so it stays right while incidents come and go. A search that finds few reads only these; one that finds many walks the
incidents in their order until it has enough of those that were found, and its counts end at a bound.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Literal, NamedTuple

import msgspec

from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from streams.api.model.store import priority_of

Order = Literal["priority", "-opened_at"]

#: Services in the facet, those with the most incidents.
_SERVICES = 100
#: So many incidents are counted of a filter that the kept counts do not answer. Up to so many, what a search finds is
#: read one by one; beyond, a walk in the order is faster.
COUNTED = 2_000
#: Incidents that the first step of a walk looks at, or as many as are wanted; each further step looks at four times as
#: many.
_STEP = 250
_COLUMNS: Mapping[str, str] = {"priority": "priority", "-opened_at": "age"}
_WORDS = re.compile(r"\w+")
#: Numbers of incidents that a reader remembers of its last searches: 64 bytes each.
_REMEMBERED = 300_000


class Filter(NamedTuple):
    """Which incidents: of a tenant, and of the given states, severities and services; empty is any.

    `text` has words, or beginnings of words, that all stand in the title, the service, the dedup key, the source or the
    labels. `acknowledged_by` is who acknowledged them, "" for anybody and nobody.
    `narrowed` says what the text finds: `places` are the numbers of these incidents if they are few, `many` if not.
    """

    tenant: str
    statuses: Sequence[Status] = ()
    severities: Sequence[Severity] = ()
    services: Sequence[str] = ()
    text: str = ""
    acknowledged_by: str = ""
    places: Sequence[int] | None = None
    many: Set[int] = frozenset()


class Place(NamedTuple):
    """Where a page ends: the value that it is ordered by, and the number of the incident in the file."""

    key: int
    number: int


class Page(NamedTuple):
    """Incidents, and where the next page begins, None after the last."""

    incidents: Sequence[Incident]
    next: Place | None


class _Seen(NamedTuple):
    """An incident that a walk found, without its record."""

    key: int
    number: int
    status: int
    severity: int
    service: str


class Facets(msgspec.Struct):
    """How many incidents there are in all, and for each value of a field, if that were the only filter of the field.

    `total_at_least`: there are more than the total. `at_least`: there may be more of each value; the first in the order
    of work are counted.
    """

    total: int
    total_at_least: bool
    at_least: bool
    status: dict[str, int]
    severity: dict[str, int]
    service: dict[str, int]


_decode_page = msgspec.json.Decoder(list[tuple[int, int, Incident]]).decode
_decode_incident = msgspec.json.Decoder(Incident).decode
_decode_facets = msgspec.json.Decoder(Facets).decode
_decode_step = msgspec.json.Decoder(list[_Seen]).decode
_decode_places = msgspec.json.Decoder(list[int]).decode


class Searches:
    """What the last searches of one connection found, if it was many; used by one thread.

    What a search finds an incident by never changes, and numbers are never used again. So a search that is asked again,
    as a list does that somebody looks at, reads only what was added since.
    """

    def __init__(self) -> None:
        #: By expression, the one asked last at the end: the newest number that it looked at, and what it found.
        self._last: dict[str, tuple[int, set[int]]] = {}

    def find(self, db: sqlite3.Connection, expression: str) -> set[int]:
        """The numbers of all incidents that match, and perhaps of some that are gone."""
        looked_at, found = self._last.pop(expression, (0, set()))
        (newest,) = db.execute("SELECT coalesce(max(place), 0) FROM incidents").fetchone()
        if newest > looked_at:
            sql = "SELECT json_group_array(rowid) FROM search WHERE search MATCH :text AND rowid > :looked_at"
            found.update(_decode_places(_one(db, sql, {"text": expression, "looked_at": looked_at})))
        if len(found) > COUNTED:
            self._last[expression] = max(newest, looked_at), found
            while sum(len(each) for _, each in self._last.values()) > _REMEMBERED:
                del self._last[next(iter(self._last))]
        return found


def narrowed(db: sqlite3.Connection, which: Filter, searches: Searches | None = None) -> Filter:
    """The filter with what its text finds, of whatever tenant. It is right for one moment.

    Pages and counts ask for it themselves; who needs both of them asks once.
    """
    if not which.text or which.places is not None or which.many:
        return which
    found = (searches or Searches()).find(db, _expression(which.text))
    return which._replace(places=sorted(found)) if len(found) <= COUNTED else which._replace(many=found)


def read_page(db: sqlite3.Connection, which: Filter, order: Order, after: Place | None, limit: int) -> Page:
    """One page of at most `limit` incidents."""
    which = _first(db, narrowed(db, which), order, after, limit + 1)
    conditions, params = _conditions(which)
    column = _COLUMNS[order]
    if which.statuses and order == "priority":
        # The status is what comes first in the order: only these incidents are looked at.
        conditions.append("priority BETWEEN :first AND :last")
        params["first"] = priority_of(min(which.statuses), Severity.CRITICAL, 1 << 62)
        params["last"] = priority_of(max(which.statuses), Severity.INFO, 0)
    if after is not None:
        conditions.append(f"({column}, place) > (:key, :number)")
        params.update(key=after.key, number=after.number)
    sql = f"""
SELECT json_group_array(json_array(key, place, json(record))) FROM (
    SELECT {column} AS key, place, record FROM {_source(which, column)}
    WHERE {" AND ".join(conditions)} ORDER BY {column}, place LIMIT :limit
)"""  # noqa: S608 - every value is a parameter
    rows = _decode_page(_one(db, sql, {**params, "limit": limit + 1}))
    # SQLite does not promise an order within an aggregate.
    rows.sort(key=lambda row: row[:2])
    last = Place(*rows[limit - 1][:2]) if len(rows) > limit else None
    return Page([incident for _, _, incident in rows[:limit]], last)


def read_facets(db: sqlite3.Connection, which: Filter) -> Facets:
    """The counts of a filter."""
    which = narrowed(db, which)
    params: dict[str, object] = {"tenant": which.tenant, "services": _SERVICES, "counted": COUNTED}
    source = "SELECT status, severity, service, n FROM counts WHERE tenant = :tenant AND n > 0"
    kept = not (which.text or which.acknowledged_by)
    every = which._replace(statuses=(), severities=(), services=())
    if every.many:
        found = Counter(each[2:] for each in _walk(db, every, "priority", None, COUNTED + 1))
        fields = "value ->> 0 AS status, value ->> 1 AS severity, value ->> 2 AS service, value ->> 3 AS n"
        source = f"SELECT {fields} FROM json_each(:found)"  # noqa: S608
        params["found"] = _array([(*values, n) for values, n in found.items()])
    elif not kept:
        conditions, more = _conditions(every)
        params |= more
        source = f"""
SELECT status, severity, service, count(*) AS n FROM (
    SELECT status, severity, service FROM {_source(every, "priority")}
    WHERE {" AND ".join(conditions)} ORDER BY priority, place LIMIT :counted + 1
) GROUP BY status, severity, service"""  # noqa: S608
    chosen: dict[str, str] = {}
    for name, values in (("status", which.statuses), ("severity", which.severities), ("service", which.services)):
        chosen[name] = _among(name, f"chosen_{name}") if values else "true"
        params[f"chosen_{name}"] = _array(values)

    def facet(name: str, rest: str = "") -> str:
        others = " AND ".join(condition for other, condition in chosen.items() if other != name)
        return f"""
'{name}', (SELECT json_group_object({name}, n) FROM (
    SELECT {name}, sum(n) AS n FROM found WHERE {others} GROUP BY {name} {rest}
))"""  # noqa: S608

    sql = f"""
WITH found AS MATERIALIZED ({source})
SELECT json_object(
    'total', (SELECT coalesce(sum(n), 0) FROM found WHERE {" AND ".join(chosen.values())}),
    'total_at_least', json('false'),
    'at_least', json({"'false'" if kept else "iif((SELECT sum(n) FROM found) > :counted, 'true', 'false')"}),
    {facet("status")}, {facet("severity")}, {facet("service", "ORDER BY n DESC, service LIMIT :services")}
)"""  # noqa: S608
    facets = _decode_facets(_one(db, sql, params))
    if facets.at_least and facets.total <= COUNTED:
        facets.total = _count(db, which)
    if facets.at_least and facets.total > COUNTED:
        facets.total, facets.total_at_least = COUNTED, True
    facets.status = {Status(int(number)).name.lower(): n for number, n in facets.status.items()}
    facets.severity = {Severity(int(number)).name.lower(): n for number, n in facets.severity.items()}
    facets.service = dict(sorted(facets.service.items(), key=lambda item: (-item[1], item[0])))
    return facets


def read_incident(db: sqlite3.Connection, tenant: str, incident_id: bytes) -> Incident | None:
    """The incident with this id, if it is there."""
    sql = "SELECT record FROM incidents WHERE id = :id AND tenant = :tenant"
    row = db.execute(sql, {"id": incident_id.hex(), "tenant": tenant}).fetchone()
    return _decode_incident(row[0]) if row is not None else None


def _first(db: sqlite3.Connection, which: Filter, order: Order, after: Place | None, wanted: int) -> Filter:
    """Of a filter whose text finds many: the filter of the first so many of them, in the order."""
    if not which.many:
        return which
    places = [each.number for each in _walk(db, which, order, after, wanted)]
    return which._replace(places=places, many=frozenset())


def _walk(db: sqlite3.Connection, which: Filter, order: Order, after: Place | None, wanted: int) -> list[_Seen]:
    """The first so many of a filter whose text finds many, in the order."""
    column, step = _COLUMNS[order], max(_STEP, wanted)
    conditions, params = _conditions(which)
    found: list[_Seen] = []
    while len(found) < wanted:
        here = [*conditions, f"({column}, place) > (:key, :number)"] if after is not None else conditions
        sql = f"""
SELECT json_group_array(json_array(key, place, status, severity, service)) FROM (
    SELECT {column} AS key, place, status, severity, service FROM incidents INDEXED BY by_{column}
    WHERE {" AND ".join(here)} ORDER BY {column}, place LIMIT :step
)"""  # noqa: S608
        at = {"key": after.key, "number": after.number} if after is not None else {}
        rows = sorted(_decode_step(_one(db, sql, {**params, **at, "step": step})))
        found += [each for each in rows if each.number in which.many]
        if len(rows) < step:
            break
        after, step = Place(*rows[-1][:2]), step * 4
    return found[:wanted]


def _count(db: sqlite3.Connection, which: Filter) -> int:
    """How many incidents the filter has, but for what is more than one over the bound."""
    which = _first(db, which, "priority", None, COUNTED + 1)
    conditions, params = _conditions(which)
    sql = f"""
SELECT count(*) FROM (
    SELECT 1 FROM {_source(which, "priority")} WHERE {" AND ".join(conditions)} LIMIT :counted + 1
)"""  # noqa: S608
    count: int = db.execute(sql, {**params, "counted": COUNTED}).fetchone()[0]
    return count


def _source(which: Filter, column: str) -> str:
    """The table, and the way through it: from the few numbers, or in the order of the column."""
    return "incidents NOT INDEXED" if which.places is not None else f"incidents INDEXED BY by_{column}"


def _conditions(which: Filter) -> tuple[list[str], dict[str, object]]:
    conditions = ["tenant = :tenant"]
    found: dict[str, object] = {"tenant": which.tenant}
    for name, values in (("status", which.statuses), ("severity", which.severities), ("service", which.services)):
        if values:
            conditions.append(_among(name, name))
            found[name] = _array(values)
    if which.acknowledged_by:
        conditions.append("acknowledged_by = :acknowledged_by")
        found["acknowledged_by"] = which.acknowledged_by
    if which.places is not None:
        conditions.append("place IN (SELECT value FROM json_each(:places))")
        found["places"] = _array(which.places)
    return conditions, found


def _among(column: str, param: str) -> str:
    return f"{column} IN (SELECT value FROM json_each(:{param}))"  # noqa: S608 - both are names of ours


def _expression(text: str) -> str:
    """An expression of FTS5: each word, or the beginning of one, must be there. What is no word matches nothing.

    >>> _expression('db-01 "OR')
    '"db 01"* "OR"*'
    """
    parts = [" ".join(_WORDS.findall(part)) for part in text.split()]
    return " ".join(f'"{part}"*' for part in parts if part) or '""'


def _array(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


def _one(db: sqlite3.Connection, sql: str, params: Mapping[str, object]) -> str:
    answer: str = db.execute(sql, dict(params)).fetchone()[0]
    return answer
