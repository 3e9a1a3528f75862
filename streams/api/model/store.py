"""The SQLite file: incidents, what a search finds them by, counts for facets, and the offsets of the topic so far.

One thread writes and several read (write-ahead log). Every statement takes its rows as one JSON text, and every query
gives one row: Python's interpreter lock changes hands at each step of a statement, and the event loop needs it too.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from schemas.records import Record
from schemas.wire.codec import DecodeError, decode_incident
from schemas.wire.incident import Incident, Status

log = structlog.get_logger(__name__)

#: Of the tables below: a file with another number is made again. The number of an incident, `place`, is never used for
#: another one: readers remember what searches found.
_SCHEMA = 2
#: Pages of 4 KiB that the log grows to before they are moved into the file: many changes of a page become one.
_LOG_PAGES = 16_000
_CACHE_KIB = 64 * 1024
_LOST = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: `priority` orders by status, severity and age: each has its bits.
_TIME_BITS = 44
_LAST_MS = (1 << _TIME_BITS) - 1
_STATUS_BITS = 2

_TABLES = """
CREATE TABLE incidents (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, version INTEGER NOT NULL,
    status INTEGER NOT NULL, severity INTEGER NOT NULL, service TEXT NOT NULL, acknowledged_by TEXT NOT NULL,
    priority INTEGER NOT NULL, age INTEGER NOT NULL, text TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX by_priority ON incidents (tenant, priority, place, status, severity, service, acknowledged_by);
CREATE INDEX by_age ON incidents (tenant, age, place, status, severity, service, acknowledged_by);
CREATE VIRTUAL TABLE search USING fts5 (
    text, content = 'incidents', content_rowid = 'place', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TABLE counts (
    tenant TEXT NOT NULL, status INTEGER NOT NULL, severity INTEGER NOT NULL, service TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (tenant, status, severity, service)
) WITHOUT ROWID;
CREATE TRIGGER added AFTER INSERT ON incidents BEGIN
    INSERT INTO search (rowid, text) VALUES (new.place, new.text);
    INSERT INTO counts VALUES (new.tenant, new.status, new.severity, new.service, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER moved AFTER UPDATE ON incidents WHEN old.status != new.status OR old.severity != new.severity BEGIN
    UPDATE counts SET n = n - 1 WHERE tenant = old.tenant AND status = old.status AND severity = old.severity
        AND service = old.service;
    INSERT INTO counts VALUES (new.tenant, new.status, new.severity, new.service, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER removed AFTER DELETE ON incidents BEGIN
    INSERT INTO search (search, rowid, text) VALUES ('delete', old.place, old.text);
    UPDATE counts SET n = n - 1 WHERE tenant = old.tenant AND status = old.status AND severity = old.severity
        AND service = old.service;
END;
CREATE TABLE positions (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE origin (topic TEXT NOT NULL, read_at INTEGER NOT NULL);
INSERT INTO origin VALUES ('', 0);
"""
_KNOWN = """
SELECT json_group_object(id, json_array(tenant, version, status, severity, acknowledged_by))
FROM incidents WHERE id IN (SELECT value FROM json_each(?))
"""
_ADD = """
INSERT INTO incidents
    (id, tenant, version, status, severity, service, acknowledged_by, priority, age, record, text)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
    value ->> 8, value -> 9, value ->> 10
FROM json_each(?)
"""
#: What a search finds an incident by never changes.
_CHANGE = """
UPDATE incidents SET version = new.value ->> 2, status = new.value ->> 3, severity = new.value ->> 4,
    acknowledged_by = new.value ->> 6, priority = new.value ->> 7, record = new.value -> 9
FROM json_each(?) AS new WHERE incidents.id = new.value ->> 0
"""
#: Of an incident that keeps its place in every order: no index changes.
_COUNT = """
UPDATE incidents SET version = new.value ->> 1, record = new.value -> 2
FROM json_each(?) AS new WHERE incidents.id = new.value ->> 0
"""
_REMOVE = "DELETE FROM incidents WHERE id IN (SELECT value FROM json_each(?))"
_MOVE = "REPLACE INTO positions SELECT value ->> 0, value ->> 1 FROM json_each(?)"

_encoder = msgspec.json.Encoder()
_decode_known = msgspec.json.Decoder(dict[str, tuple[str, int, Status, int, str]]).decode


class Applied(NamedTuple):
    """What a batch changed: the newest state of each incident, and (tenant, id in hex) of those that are gone.

    `news` are incidents that are new, or have another status or severity than before.
    """

    news: Sequence[Incident] = ()
    counted: Sequence[Incident] = ()
    gone: Sequence[tuple[str, str]] = ()


class Store:
    """A file that is open for writing; it is made if there is none or it is of no use. Used by one thread.

    Raises sqlite3.Error if the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            if not is_lost(error):
                raise
            log.warning("the list of incidents is damaged, it is read again", reason=str(error))
            self._remove()
            self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if version != _SCHEMA and tables:
                raise _lost(f"its schema is {version}")
            (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise _lost(sound)
            if not tables:
                db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_SCHEMA}; COMMIT;")
        except BaseException:
            db.close()
            raise
        return db

    def clear(self) -> None:
        """Begin with an empty file."""
        self._db.close()
        self._remove()
        self._db = self._opened()

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def origin(self) -> tuple[str, int]:
        """The id of the topic that it was read from, and when that was read last, in milliseconds since 1970 UTC."""
        topic, read_at = self._db.execute("SELECT topic, read_at FROM origin").fetchone()
        return topic, read_at

    def positions(self) -> dict[int, int]:
        """The next offset of each partition."""
        return dict(self._db.execute("SELECT partition, next FROM positions").fetchall())

    def begin(self, topic: str) -> None:
        """Note the id of the topic that is read."""
        self._db.execute("UPDATE origin SET topic = ?", (topic,))

    def apply(self, records: Iterable[Record], positions: Mapping[int, int], now: int) -> Applied:
        """Put the records, and the partitions' next offsets, in as one transaction. Records of a key are in order.

        A record that is no incident is left out, and logged. `now` is in milliseconds since 1970 UTC.
        """
        newest: dict[str, Incident | None] = {}
        for record in records:
            try:
                newest[(record.key or b"").hex()] = decode_incident(record.value) if record.value is not None else None
            except DecodeError:
                log.warning("a record is no incident", partition=record.partition, offset=record.offset)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            applied = self._put(newest)
            self._db.execute(_MOVE, (_json(list(positions.items())),))
            self._db.execute("UPDATE origin SET read_at = ?", (now,))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return applied

    def _put(self, newest: Mapping[str, Incident | None]) -> Applied:
        if not newest:
            return Applied()
        known = _decode_known(self._db.execute(_KNOWN, (_json(list(newest)),)).fetchone()[0])
        added: list[object] = []
        changed: list[object] = []
        gone: list[tuple[str, str]] = []
        news: list[Incident] = []
        counted: list[Incident] = []
        for key, incident in newest.items():
            before = known.get(key)
            if incident is None:
                if before is not None:
                    gone.append((before[0], key))
            elif before is None:
                news.append(incident)
                added.append((*_row(key, incident), _text(incident)))
            elif before[1] > incident.version:
                continue
            elif before[2:] != (incident.status, incident.severity, _plain(incident.acknowledged_by)):
                news.append(incident)
                changed.append(_row(key, incident))
            else:
                counted.append(incident)
        counts = [(incident.incident_id.hex(), incident.version, incident) for incident in counted]
        removed = [key for _, key in gone]
        for statement, rows in ((_ADD, added), (_CHANGE, changed), (_COUNT, counts), (_REMOVE, removed)):
            if rows:
                self._db.execute(statement, (_json(rows),))
        return Applied(news, counted, gone)


def priority_of(status: Status, severity: int, opened_at: int) -> int:
    """The place in the order of work: open before acknowledged before resolved, the worst first, then the newest."""
    worst = 4 - severity
    return ((status - 1) << _STATUS_BITS | worst) << _TIME_BITS | (_LAST_MS - min(max(opened_at, 0), _LAST_MS))


def is_lost(error: sqlite3.Error) -> bool:
    """Whether the file must be made again."""
    return getattr(error, "sqlite_errorcode", 0) in _LOST


def _lost(reason: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _row(key: str, incident: Incident) -> tuple[object, ...]:
    return (
        key,
        incident.tenant,
        incident.version,
        int(incident.status),
        int(incident.severity),
        _plain(incident.service),
        _plain(incident.acknowledged_by),
        priority_of(incident.status, incident.severity, incident.opened_at),
        -incident.opened_at,
        incident,
    )


def _text(incident: Incident) -> str:
    """What a search finds the incident by."""
    labels = (f"{name} {value}" for name, value in incident.labels.items())
    return _plain("\n".join((incident.title, incident.service, incident.dedup_key, incident.source, *labels)))


def _json(rows: object) -> str:
    return _encoder.encode(rows).decode()


def _plain(text: str) -> str:
    """SQLite ends a text at the first NUL."""
    return text.replace("\0", " ") if "\0" in text else text
