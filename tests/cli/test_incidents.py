"""`stormweir incidents`: what is refused before anything is asked or sent, and how lines are shown."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from schemas.wire.command import MAX_ACTOR, MAX_MEMBERS, MAX_NOTE, CommandAction, CommandEnd, CommandResult
from streams.cli import incidents
from streams.process.errors import OperatorError

ID = "0198c0de"
ACK, MERGE, SPLIT = CommandAction.ACKNOWLEDGE, CommandAction.MERGE, CommandAction.SPLIT


@pytest.mark.parametrize("which", ["", "0198c0d", "0198c0dg", "0198c0de'--", "%%%%%%%%", "0" * 37, "0198c0de\n"])
def test_an_id_is_eight_characters_or_more(which: str) -> None:
    """What cannot begin an id is refused before ClickHouse is asked."""
    with pytest.raises(OperatorError, match="ID: 8 to 36 characters"):
        incidents.ack(which)


@pytest.mark.parametrize(
    ("by", "note", "told"),
    [
        ("", "", "--as: is empty"),
        (" ", "", "--as: is empty"),
        ("a" * (MAX_ACTOR + 1), "", f"--as: 201 characters are too many, at most {MAX_ACTOR}"),
        ("\udcff", "", "--as: is not UTF-8"),
        ("ada", "n" * (MAX_NOTE + 1), f"the note: 2001 characters are too many, at most {MAX_NOTE}"),
        ("ada", "\udcff", "the note: is not UTF-8"),
    ],
)
def test_bad_text_is_refused_with_its_name(by: str, note: str, told: str) -> None:
    """Nothing is looked up or sent."""
    with pytest.raises(OperatorError, match=told):
        incidents.resolve(ID, note, by)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_note_is_refused(text: str) -> None:
    """A line without text says nothing."""
    with pytest.raises(OperatorError, match="the note is empty"):
        incidents.note(ID, text)


def test_answers_in_words() -> None:
    """Each end is told apart."""
    done = CommandResult(end=CommandEnd.DONE, version=3, status="resolved", title="Disk full")
    assert incidents._told(done, ACK) == "resolved, version 3: Disk full"
    already = CommandResult(end=CommandEnd.ALREADY, version=3, status="resolved", title="Disk full")
    assert incidents._told(already, ACK) == "already resolved, version 3: Disk full"
    assert incidents._told(CommandResult(end=CommandEnd.NOT_FOUND), ACK) == "is not open: unknown"
    assert incidents._told(CommandResult(end=CommandEnd.PENDING), ACK).startswith("pending")


def test_what_was_not_moved_is_said() -> None:
    """The incident is open, so the reason is the other one, or the alerts."""
    nothing = CommandResult(end=CommandEnd.NOT_FOUND, version=3, status="open", title="Disk full")
    assert incidents._told(nothing, MERGE) == "nothing changed: INTO is not open, or of another service"
    assert incidents._told(nothing, SPLIT).startswith("nothing changed: none of these alerts is open in it")
    gone = CommandResult(end=CommandEnd.NOT_FOUND, status="resolved")
    assert incidents._told(gone, MERGE) == "is not open: resolved"


def asked(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]]) -> None:
    """Let ClickHouse have these rows."""

    async def query(*_: object) -> list[dict[str, Any]]:
        return rows

    monkeypatch.setattr(incidents, "asked", lambda work: asyncio.run(work(query)))


def test_keys_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every alert with one of the keys is meant; a key that nobody knows is refused."""
    rows = [{"dedup_key": "a", "fingerprint": UUID(int=1)}, {"dedup_key": "a", "fingerprint": UUID(int=2)}]
    asked(monkeypatch, rows)
    assert incidents._members(["a"], "default") == (UUID(int=1).bytes, UUID(int=2).bytes)
    with pytest.raises(OperatorError, match="KEY: no alert 'b'"):
        incidents._members(["a", "b"], "default")
    asked(monkeypatch, rows * MAX_MEMBERS)
    with pytest.raises(OperatorError, match="more than 1000"):
        incidents._members(["a"], "default")


def test_times_that_are_not_yet_are_none() -> None:
    """1970 stands for never in ClickHouse."""
    row = {"resolved_at": datetime(1970, 1, 1, tzinfo=UTC), "opened_at": datetime(2026, 1, 2, 3, 4, 5)}
    assert incidents.plain(row) == {"resolved_at": None, "opened_at": "2026-01-02T03:04:05.000+00:00"}


def test_a_line_of_the_timeline() -> None:
    """An event has its actor, a delivery its destination, outcome and reason."""
    event = {"at": "t", "kind": "note", "actor": "cli:ada", "note": "x", "destination": ""}
    assert incidents._line(event) == {"at": "t", "what": "note", "who": "cli:ada", "detail": "x"}
    skip = {"at": "t", "kind": "resolved", "destination": "ops", "outcome": "suppressed", "note": "quiet_hours"}
    assert incidents._line({**skip, "http_status": 0}) == {
        "at": "t", "what": "told: resolved", "who": "ops", "detail": "suppressed, quiet_hours",
    }  # fmt: skip
