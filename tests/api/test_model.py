"""The file of incidents: pages, searches and counts, changes, deletions, and files that are of no use."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from streams.api.model import pages
from streams.api.model.pages import (
    COUNTED,
    Filter,
    Order,
    Place,
    Searches,
    narrowed,
    read_facets,
    read_incident,
    read_page,
)
from streams.api.model.store import Store, is_lost
from tests.api.reading import NOW, Record, gone, incident, records

OPEN, ACKNOWLEDGED, RESOLVED = Status.OPEN, Status.ACKNOWLEDGED, Status.RESOLVED


def stored(path: Path, *incidents: Incident) -> Store:
    """A file with these incidents."""
    store = Store(path / "incidents.sqlite")
    store.apply(records(*incidents), {0: len(incidents)}, NOW)
    return store


def numbers(store: Store, which: Filter, order: Order = "priority", limit: int = 3) -> list[int]:
    """The numbers of all incidents of the filter, read in pages of `limit`."""
    found: list[int] = []
    after: Place | None = None
    with closing(sqlite3.connect(store.path)) as db:
        while True:
            page = read_page(db, which, order, after, limit)
            found += [int.from_bytes(each.incident_id, "big") for each in page.incidents]
            if page.next is None:
                return found
            assert len(page.incidents) == limit
            after = page.next


def many() -> list[Incident]:
    """Sixty incidents of three services in every state and severity, with two openings at the same moment."""
    chance = random.Random(7)
    return [
        incident(
            number,
            status=chance.choice([*Status]),
            severity=chance.choice([*Severity]),
            service=chance.choice(["web", "db", "cart"]),
            opened_at=NOW + number // 2 * 1000,
            tenant="default" if number % 10 else "acme",
            acknowledged_by=chance.choice(["", "ada"]),
        )
        for number in range(1, 61)
    ]


FILTERS = [
    Filter("default"),
    Filter("acme"),
    Filter("nobody"),
    Filter("default", statuses=[OPEN, ACKNOWLEDGED]),
    Filter("default", statuses=[OPEN, RESOLVED], severities=[Severity.INFO, Severity.CRITICAL]),
    Filter("default", services=["db", "cart", "gone"]),
    Filter("default", acknowledged_by="ada"),
    Filter("default", text="disk 1"),
    Filter("default", statuses=[ACKNOWLEDGED], text="full", services=["web"]),
]


def matches(each: Incident, which: Filter) -> bool:
    """Whether the incident belongs to the filter, but for the text."""
    return (
        each.tenant == which.tenant
        and (not which.statuses or each.status in which.statuses)
        and (not which.severities or each.severity in which.severities)
        and (not which.services or each.service in which.services)
        and which.acknowledged_by in ("", each.acknowledged_by)
        and all(any(part.startswith(word) for part in each.title.split()) for word in which.text.split())
    )


@pytest.mark.parametrize("which", FILTERS, ids=range(len(FILTERS)))
def test_pages_have_each_incident_of_a_filter_once_in_order(tmp_path: Path, which: Filter) -> None:
    """By priority: open before acknowledged before resolved, the worst, the newest; or the newest only."""
    everything = many()
    expected = [each for each in everything if matches(each, which)]
    with closing(stored(tmp_path, *everything)) as store:
        found = numbers(store, which)
        order = {int.from_bytes(each.incident_id, "big"): each for each in expected}
        assert sorted(found) == sorted(order)
        places = [(order[n].status, -order[n].severity, -order[n].opened_at) for n in found]
        assert places == sorted(places)
        newest = [order[n].opened_at for n in numbers(store, which, "-opened_at")]
        assert newest == sorted(newest, reverse=True)
        with closing(sqlite3.connect(store.path)) as db:
            assert read_facets(db, which).total == len(expected)


@pytest.mark.parametrize("which", FILTERS, ids=range(len(FILTERS)))
def test_facets_count_what_each_value_would_find(tmp_path: Path, which: Filter) -> None:
    """The other fields' filters hold, the field's own does not."""
    everything = many()
    with closing(stored(tmp_path, *everything)) as store, closing(sqlite3.connect(store.path)) as db:
        facets = read_facets(db, which)
    for status in Status:
        alone = sum(matches(each, which._replace(statuses=[status])) for each in everything)
        assert facets.status.get(status.name.lower(), 0) == alone
    for severity in Severity:
        alone = sum(matches(each, which._replace(severities=[severity])) for each in everything)
        assert facets.severity.get(severity.name.lower(), 0) == alone
    for service in ("web", "db", "cart"):
        assert facets.service.get(service, 0) == sum(
            matches(each, which._replace(services=[service])) for each in everything
        )


@pytest.mark.parametrize("which", [each for each in FILTERS if each.text], ids=lambda each: each.text)
def test_a_search_that_finds_few_answers_as_one_that_walks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: Filter
) -> None:
    """The same pages in both orders, and the same counts, though one reads only what the text finds, and the other
    looks at some incidents after the other.
    """
    monkeypatch.setattr(pages, "_STEP", 4)
    with closing(stored(tmp_path, *many())) as store, closing(sqlite3.connect(store.path)) as db:
        few = narrowed(db, which)
        assert few.places is not None
        walks = few._replace(places=None, many=frozenset(few.places) | {0})
        assert read_facets(db, few) == read_facets(db, walks)
        for order in ("priority", "-opened_at"):
            assert numbers(store, few, order) == numbers(store, walks, order)


def test_a_search_that_finds_few_reads_only_these(tmp_path: Path) -> None:
    """SQLite takes no more steps of a search in a file of 3,000 incidents than in one of 300."""
    steps: list[int] = []
    for size in (300, 3_000):
        everything = [incident(n, title=f"disk {n} is full" if n > 5 else "fan stands") for n in range(1, size + 1)]
        folder = tmp_path / str(size)
        with closing(stored(folder, *everything)) as store, closing(sqlite3.connect(store.path)) as db:
            steps.append(0)

            def step() -> None:
                steps[-1] += 1

            db.set_progress_handler(step, 10)
            few = narrowed(db, Filter("default", text="fan", statuses=[OPEN]))
            assert len(read_page(db, few, "priority", None, 50).incidents) == read_facets(db, few).total == 5
    assert steps[1] <= steps[0] * 1.1


def test_a_search_that_is_asked_again_finds_what_came_and_not_what_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers as one that is asked for the first time; if nothing was added, it does not search again."""
    monkeypatch.setattr(pages, "COUNTED", 4)
    searches, which = Searches(), Filter("default", text="fan")
    begin = [incident(n, title="fan stands") for n in range(1, 11)]
    with closing(stored(tmp_path, *begin)) as store, closing(sqlite3.connect(store.path)) as db:

        def found() -> list[int]:
            again = narrowed(db, which, searches)
            assert read_facets(db, again) == read_facets(db, which)
            return numbers(store, again)

        assert sorted(found()) == list(range(1, 11))
        store.apply(records(incident(11, title="fan stands"), incident(12, title="disk is full")), {}, NOW)
        assert sorted(found()) == list(range(1, 12))
        # The newest ones go, and others come in their place in the file.
        store.apply([gone(incident(n).incident_id) for n in (3, 11, 12)], {}, NOW)
        store.apply(records(incident(13, title="disk is full"), incident(14, title="fan stands")), {}, NOW)
        assert sorted(found()) == [1, 2, *range(4, 11), 14]
        asked: list[str] = []
        db.set_trace_callback(asked.append)
        narrowed(db, which, searches)
        assert asked
        assert not any("MATCH" in statement for statement in asked)


def test_searches_are_forgotten_before_they_take_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was asked longest ago is searched again, the others are not."""
    monkeypatch.setattr(pages, "COUNTED", 4)
    monkeypatch.setattr(pages, "_REMEMBERED", 25)
    searches = Searches()
    everything = [incident(n, title="fan disk port stand") for n in range(1, 11)]
    with closing(stored(tmp_path, *everything)) as store, closing(sqlite3.connect(store.path)) as db:
        for text in ("fan", "disk", "fan", "port"):
            narrowed(db, Filter("default", text=text), searches)
        asked: list[str] = []
        db.set_trace_callback(asked.append)
        for text in ("fan", "port", "disk"):
            narrowed(db, Filter("default", text=text), searches)
        assert ["disk" in statement for statement in asked if "MATCH" in statement] == [True]


def test_counts_of_many_end_at_a_bound_and_say_so(tmp_path: Path) -> None:
    """The list stays exact, and so is a total that is below the bound; other counts are of the first by priority."""
    count = COUNTED + 30
    states = {number: OPEN if number % 100 else RESOLVED for number in range(1, count + 1)}
    everything = [incident(n, status=state, acknowledged_by="ada") for n, state in states.items()]
    with closing(stored(tmp_path, *everything)) as store, closing(sqlite3.connect(store.path)) as db:
        for which in (Filter("default", text="full"), Filter("default", acknowledged_by="ada")):
            many = narrowed(db, which)
            assert many.places is None
            facets = read_facets(db, many)
            assert (facets.total, facets.total_at_least, facets.at_least) == (COUNTED, True, True)
            assert sum(facets.status.values()) <= COUNTED + 1
            assert facets.status["open"] <= [*states.values()].count(OPEN)
            assert sorted(numbers(store, many, limit=500)) == sorted(states)
            resolved = read_facets(db, many._replace(statuses=[RESOLVED]))
            assert (resolved.total, resolved.total_at_least) == ([*states.values()].count(RESOLVED), False)
        kept = read_facets(db, Filter("default"))
        assert (kept.total, kept.total_at_least, kept.at_least) == (count, False, False)


def test_pages_go_on_while_incidents_come_and_go(tmp_path: Path) -> None:
    """One that stays is read once, whatever happens before and after it."""
    with closing(stored(tmp_path, *(incident(n) for n in range(1, 10)))) as store:
        with closing(sqlite3.connect(store.path)) as db:
            page = read_page(db, Filter("default"), "-opened_at", None, 3)
            store.apply([*records(incident(20)), gone(incident(9).incident_id), gone(incident(5).incident_id)], {}, NOW)
            rest = read_page(db, Filter("default"), "-opened_at", page.next, 10)
        assert [int.from_bytes(each.incident_id, "big") for each in rest.incidents] == [6, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("switch", [1]),
        ("SWIT", [1]),
        ("café", [2]),
        ("cafe", [2]),
        ("db-01.example", [3]),
        ("01.exam", [3]),
        ("example db", [3]),
        ("prod", [4]),
        ("region eu", [4]),
        ("rack/7", [1]),
        ("host-9", [2]),
        ("billing", [3]),
        ('"', []),
        ("-", []),
        ("NEAR(switch)", []),
        ("switch OR prod", []),
        ("text:switch", []),
        ("sw*tch", []),
        ("switch\0", [1]),
        ("'; DROP TABLE incidents; --", []),
    ],
)
def test_a_search_finds_words_and_beginnings_of_words(tmp_path: Path, text: str, found: list[int]) -> None:
    """In title, service, key, source and labels, all of them; nothing of it is an expression."""
    everything = [
        incident(1, title="The Switch is down", dedup_key="rack/7"),
        incident(2, title="Café closed", source="host-9"),
        incident(3, title="db-01.example.com is slow", service="billing"),
        incident(4, title="x", labels={"env": "prod", "region": "eu-1"}),
        incident(5, title="The Switch is down", tenant="acme"),
    ]
    with closing(stored(tmp_path, *everything)) as store:
        assert numbers(store, Filter("default", text=text)) == found


def test_the_newest_version_counts(tmp_path: Path) -> None:
    """Of a batch and of the file, whatever order they come in."""
    with closing(stored(tmp_path, incident(1, version=3, title="disk"))) as store:
        applied = store.apply(records(incident(1, version=4), incident(1, version=5, alert_count=9)), {}, NOW)
        assert [each.version for each in applied.counted] == [5]
        assert store.apply(records(incident(1, version=2, status=RESOLVED)), {}, NOW) == ([], [], [])
        with closing(sqlite3.connect(store.path)) as db:
            found = read_incident(db, "default", incident(1).incident_id)
            assert found == incident(1, version=5, alert_count=9)
            assert read_incident(db, "acme", incident(1).incident_id) is None


def test_what_people_act_on_is_told_from_counts(tmp_path: Path) -> None:
    """New incidents, other states and severities are news; those that are deleted are gone, once."""
    with closing(stored(tmp_path)) as store:
        applied = store.apply(records(incident(1), incident(2), incident(3)), {}, NOW)
        assert (len(applied.news), applied.counted, applied.gone) == (3, [], [])
        changes = [
            incident(1, version=2, alert_count=5),
            incident(2, version=2, status=ACKNOWLEDGED, acknowledged_by="ada"),
            incident(3, version=2, severity=Severity.CRITICAL),
        ]
        applied = store.apply([*records(*changes), gone(incident(9).incident_id)], {}, NOW)
        assert (applied.news, applied.counted, applied.gone) == (changes[1:], changes[:1], [])
        applied = store.apply([gone(incident(1).incident_id), *records(incident(4))], {}, NOW)
        assert applied.gone == [("default", incident(1).incident_id.hex())]
        assert numbers(store, Filter("default", text="full")) == [3, 4, 2]
        with closing(sqlite3.connect(store.path)) as db:
            assert read_facets(db, Filter("default")).total == 3


def test_a_record_that_is_no_incident_is_left_out(tmp_path: Path) -> None:
    """The others of its batch are there."""
    with closing(stored(tmp_path)) as store:
        store.apply([Record(b"x", b"\xc1"), Record(None, b""), *records(incident(1))], {0: 3}, NOW)
        assert (numbers(store, Filter("default")), store.positions()) == ([1], {0: 3})


def test_incidents_and_offsets_are_there_together(tmp_path: Path) -> None:
    """After a failure in the middle neither is."""
    with closing(stored(tmp_path, incident(1))) as store:
        store._db.execute("CREATE TRIGGER fails BEFORE INSERT ON positions BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(sqlite3.IntegrityError):
            store.apply(records(incident(2)), {0: 9}, NOW)
        assert (numbers(store, Filter("default")), store.positions()) == ([1], {0: 1})


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([*Status, None]), st.sampled_from([*Severity])), max_size=30),
    st.integers(1, 7),
)
def test_any_course_of_batches_leaves_the_last_states(
    tmp_path_factory: pytest.TempPathFactory,
    course: Sequence[tuple[int, Status | None, Severity]],
    size: int,
) -> None:
    """As if each record had been applied alone to a plain table; counts and the search agree with it."""
    plain: dict[int, Incident] = {}
    batch: list[Record] = []
    with closing(stored(tmp_path_factory.mktemp("course"))) as store:
        for version, (number, status, severity) in enumerate(course, 1):
            if status is None:
                plain.pop(number, None)
                batch.append(gone(incident(number).incident_id))
            else:
                plain[number] = incident(number, status=status, severity=severity, version=version)
                batch += records(plain[number])
            if len(batch) == size:
                store.apply(batch, {}, NOW)
                batch.clear()
        store.apply(batch, {}, NOW)
        assert sorted(numbers(store, Filter("default"))) == sorted(plain)
        assert sorted(numbers(store, Filter("default", text="disk"))) == sorted(plain)
        with closing(sqlite3.connect(store.path)) as db:
            facets = read_facets(db, Filter("default"))
            for number, expected in plain.items():
                assert read_incident(db, "default", incident(number).incident_id) == expected
        states = [each.status.name.lower() for each in plain.values()]
        assert facets.status == {state: states.count(state) for state in states}
        store._db.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize("harm", ["schema", "page", "text", "empty"])
def test_a_file_of_no_use_is_made_again(tmp_path: Path, harm: str) -> None:
    """One of another version, one whose pages are damaged, one that is no database, and one that is empty."""
    store = stored(tmp_path, *(incident(n) for n in range(1, 200)))
    store.close()
    if harm == "schema":
        with closing(sqlite3.connect(store.path)) as db:
            db.execute("PRAGMA user_version = 99")
    elif harm == "page":
        content = bytearray(store.path.read_bytes())
        content[4096:20_000] = b"\xff" * (20_000 - 4096)
        store.path.write_bytes(content)
    else:
        store.path.write_bytes(b"this is no database" * 500 if harm == "text" else b"")
    with closing(Store(store.path)) as again:
        assert (again.positions(), again.origin()) == ({}, ("", 0))
        again.apply(records(incident(1)), {0: 5}, NOW)
        assert (numbers(again, Filter("default")), again.positions()) == ([1], {0: 5})


def test_a_file_that_is_whole_goes_on(tmp_path: Path) -> None:
    """With its incidents, its offsets and the topic that it is of."""
    store = stored(tmp_path, incident(1))
    store.begin("topic-1")
    store.close()
    with closing(Store(store.path)) as again:
        assert (again.positions(), again.origin()) == ({0: 1}, ("topic-1", NOW))
        assert numbers(again, Filter("default")) == [1]


def test_a_full_disk_is_no_reason_to_begin_again(tmp_path: Path) -> None:
    """What the file has stays; only damage makes it of no use."""
    with closing(stored(tmp_path, incident(1))) as store:
        store._db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            store.apply(records(*(incident(n) for n in range(2, 500))), {0: 9}, NOW)
        assert not is_lost(caught.value)
        assert (numbers(store, Filter("default")), store.positions()) == ([1], {0: 1})


def test_texts_from_outside_stay_what_they_are(tmp_path: Path) -> None:
    """NUL, quotes, JSON and SQL in every field."""
    hostile = "a\0b \"'\\ ]}; DROP TABLE incidents; -- <img onerror> \u2028 \U0001f4a9"
    fields = dict.fromkeys(("title", "service", "dedup_key", "source", "acknowledged_by"), hostile)
    made = incident(1, **fields, labels={hostile: hostile})
    with closing(stored(tmp_path, made)) as store, closing(sqlite3.connect(store.path)) as db:
        (found,) = read_page(db, Filter("default"), "priority", None, 9).incidents
        assert found == made
