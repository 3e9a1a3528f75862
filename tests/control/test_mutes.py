"""Silences, maintenance and inhibitions: what `apply` refuses or warns of, and what commands write."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from schemas.control import AnyRecord, Maintenance, Service, Silence, Tenant, control_key, dump
from streams.control import checks, document
from streams.control.edits import FieldError
from streams.control.mutes import KEPT_DAYS, added, ended, standing
from streams.control.state import Control
from tests.policy.test_recurrence import ms

NOW = ms("2026-11-26T12:00")
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks' clock stands still."""
    monkeypatch.setattr(checks.time, "time_ns", lambda: NOW * 1_000_000)


def silence(**fields: object) -> dict[str, Any]:
    """A silence of two hours, as the file says it."""
    return {
        "id": "s",
        "match": ['service="web"'],
        "starts_at": "2026-11-26T12:00:00Z",
        "ends_at": "2026-11-26T14:00:00Z",
        "author": "ada",
        "reason": "new switch",
    } | fields


def check(**lists: list[dict[str, Any]]) -> list[str]:
    """The warnings about a file with these lists, and two services."""
    services = [{"id": "web"}, {"id": "db"}]
    return document.check(document.load(yaml.safe_dump({"services": services, **lists})), {})


def problems(**lists: list[dict[str, Any]]) -> list[str]:
    """Why a file is refused."""
    with pytest.raises(document.ConfigurationError) as caught:
        check(**lists)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, []),
        ({"ends_at": "2026-11-26T12:00:01Z"}, []),
        ({"starts_at": "2026-11-25T00:00:00Z", "ends_at": "2026-11-26T12:00:00Z"}, ["is over: it mutes nothing"]),
        ({"ends_at": "2027-02-24T12:00:00Z"}, []),
        ({"ends_at": "2027-02-24T12:00:01Z"}, ["is more than 90 days after starts_at"]),
    ],
)
def test_a_silence_that_is_over_or_long_is_warned_of(fields: dict[str, Any], told: list[str]) -> None:
    """It is accepted."""
    assert check(silences=[silence(**fields)]) == [f"silences.0.ends_at: {text}" for text in told]


def nightly(hours: float, rrule: str = "FREQ=DAILY") -> dict[str, Any]:
    """What repeats, for so many hours."""
    return {"rrule": rrule, "zone": "Europe/Berlin", "start": "22:00", "duration": int(hours * 3600)}


def test_what_repeats_may_last_a_year() -> None:
    """It is meant to; more than that is warned of."""
    assert check(silences=[silence(recurrence=nightly(8), ends_at="2027-11-26T12:00:00Z")]) == []
    (warning,) = check(silences=[silence(recurrence=nightly(8), ends_at="2028-11-26T12:00:00Z")])
    assert warning == "silences.0.ends_at: is more than 366 days after starts_at"


@pytest.mark.parametrize("kind", ["silences", "maintenances"])
def test_an_occurrence_longer_than_its_period_is_refused(kind: str) -> None:
    """It would never end, which a silence for that time says plainly."""
    record = silence(recurrence=nightly(25))
    if kind == "maintenances":
        del record["match"]
        record["services"] = ["web"]
    (problem,) = problems(**{kind: [record]})
    assert problem == f"{kind}.0.recurrence.duration: is longer than the time until the next occurrence begins"


@pytest.mark.parametrize("lines", [['severity="info"'], ['service=~".*"'], ['service!="x"'], ['env=""']])
def test_a_silence_that_may_hide_everything_must_say_so(lines: list[str]) -> None:
    """Refused with the reason and what to do; accepted with `everything`."""
    (problem,) = problems(silences=[silence(match=lines)])
    assert problem.startswith("silences.0.match: may hide every incident, because no line names a service, a label")
    assert "`everything: true`" in problem
    assert check(silences=[silence(match=lines, everything=True)]) == []


def test_lines_that_are_no_conditions_are_refused_with_their_place() -> None:
    """Of silences and of both sides of an inhibition; `everything` does not hide that."""
    broken = {"id": "i", "source": ["severity=="], "target": ['env="a"', 'env=~"("']}
    lines = problems(silences=[silence(match=['service="web"', "nonsense"], everything=True)], inhibitions=[broken])
    assert [line.partition(": ")[0] for line in lines] == [
        "silences.0.match.1", "inhibitions.0.source.0", "inhibitions.0.target.1",
    ]  # fmt: skip


def test_maintenance_of_an_unknown_service_is_refused() -> None:
    """It would mute nothing, and nobody would know."""
    record = silence(services=["wbe"])
    del record["match"]
    assert problems(maintenances=[record]) == ["maintenances.0.services.0: no service 'wbe'"]


def test_an_inhibition_without_equal_is_warned_of_if_its_target_is_broad() -> None:
    """One source would hide every such incident of the tenant."""
    rule = {"id": "i", "source": ['severity="critical"'], "target": ['severity="info"']}
    (warning,) = check(inhibitions=[rule])
    assert warning.startswith("inhibitions.0.equal: is empty and no line of target names a service")
    assert check(inhibitions=[rule | {"equal": ["service"]}, rule | {"id": "j", "target": ['service="web"']}]) == []


@pytest.mark.parametrize(
    ("source", "target", "equal", "refused"),
    [
        ('service="web"', 'service="db"', [], True),
        ('service="web"', 'service="web"', [], False),
        ('service="web"', 'severity="info"', ["site"], True),
        ('severity="critical"', 'severity="info"', ["site"], True),
        ('severity="critical"', 'severity="info"', ["service"], False),
    ],
)
def test_an_inhibition_across_domains_is_refused(source: str, target: str, equal: list[str], refused: bool) -> None:
    """Domains are seen apart, so it would inhibit by chance. Without a topology a tenant is one domain."""
    rule = {"id": "i", "source": [source], "target": [target], "equal": equal}
    assert not any("domain" in warning for warning in check(inhibitions=[rule]))
    apart = [{"id": name, "domain": name} for name in ("web", "db")]
    if refused:
        (problem,) = problems(inhibitions=[rule], services=apart)
        assert problem.startswith("inhibitions.0.target: may be of another domain than source")
    else:
        check(inhibitions=[rule], services=apart)


def known(*records: AnyRecord) -> Control:
    """A configuration that has these records."""
    control = Control()
    for record in (Service(id="web"), *records):
        assert control.apply(control_key(record), dump(record)) is None
    return control


def at(milliseconds: int) -> datetime:
    """An instant as commands have it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def values(**fields: object) -> dict[str, Any]:
    """What a command knows of a silence of two hours from now on."""
    record = silence(starts_at=at(NOW), ends_at=at(NOW + DAY_MS // 12), **fields)
    dropped = {"id", "match"} if "services" in fields else {"id"}
    return {name: value for name, value in record.items() if name not in dropped}


def test_a_new_silence_has_an_id_of_its_own() -> None:
    """And is what the command said; two of the same are two."""
    control = known()
    record, warnings, change = added(control, Silence, values(), NOW)
    assert (list(change.records), list(change.deletes), warnings) == ([record], [], [])
    assert record.id.startswith("silence-")
    assert record.ends_ms == NOW + DAY_MS // 12
    assert added(control, Silence, values(), NOW)[0].id != record.id


def test_a_new_silence_is_checked_like_one_of_a_file() -> None:
    """A bad field, and what may hide everything."""
    with pytest.raises(FieldError, match="reason: String should have at least 1 character"):
        added(known(), Silence, values(reason=""), NOW)
    with pytest.raises(document.ConfigurationError, match="may hide every incident"):
        added(known(), Silence, values(match=['severity="info"']), NOW)
    with pytest.raises(document.ConfigurationError, match="no service 'cart'"):
        added(known(), Maintenance, values(services=["cart"]), NOW)


def test_what_was_over_long_ago_goes_when_a_new_one_comes() -> None:
    """Of the same kind and tenant; the list does not grow for ever."""

    def old(name: str, days: int, tenant: str = "default") -> Silence:
        end = NOW - days * DAY_MS
        times = {"starts_at": at(end - DAY_MS), "ends_at": at(end)}
        return Silence.model_validate(silence(id=name, tenant=tenant, **times))

    control = known(old("old", KEPT_DAYS + 1), old("recent", KEPT_DAYS - 1), old("other", 99, "acme"))
    assert list(added(control, Silence, values(), NOW)[2].deletes) == ["silence/default/old"]


def test_to_end_a_silence_moves_its_end_to_now() -> None:
    """It stays listed, as over; to end it once more changes nothing."""
    record = Silence.model_validate(silence(starts_at=at(NOW - DAY_MS)))
    told, change = ended(known(record), Silence, "default", "s", NOW)
    (changed,) = change.records
    assert isinstance(changed, Silence)
    assert (told, changed.ends_ms, standing(changed, NOW)) == ("ended", NOW, "over")
    again, nothing = ended(known(changed), Silence, "default", "s", NOW)
    assert (again, list(nothing.records), list(nothing.deletes)) == ("was over already", [], [])


@pytest.mark.parametrize(
    "fields",
    [
        {"starts_at": at(NOW + 1000)},
        {"starts_at": at(NOW)},
        # Its first night is not yet there, so it would be a recurrence without a date.
        {
            "starts_at": at(NOW - 1000),
            "ends_at": at(NOW + 40 * DAY_MS),
            "recurrence": nightly(8, "FREQ=WEEKLY;BYDAY=MO"),
        },
    ],
)
def test_to_end_what_has_not_begun_deletes_it(fields: dict[str, Any]) -> None:
    """A record that nothing could read would leave the old one in force."""
    record = Silence.model_validate(silence(**fields))
    told, change = ended(known(record), Silence, "default", "s", NOW)
    assert (told, list(change.records), list(change.deletes)) == (
        "deleted, it had not begun", [], ["silence/default/s"],
    )  # fmt: skip


def test_to_end_what_is_not_there() -> None:
    """Is refused; a silence of another tenant is not there."""
    other = Silence.model_validate(silence(tenant="acme"))
    with pytest.raises(FieldError, match="the tenant default has no 's'"):
        ended(known(Tenant(id="acme"), other), Silence, "default", "s", NOW)


def test_standing() -> None:
    """Planned, active, waiting for the next night, over."""
    weekly = nightly(8, "FREQ=WEEKLY;BYDAY=SA")
    record = Silence.model_validate(silence(recurrence=weekly, ends_at="2026-12-26T00:00:00Z"))
    assert standing(record, record.starts_ms - 1) == "planned"
    assert standing(record, record.starts_ms) == "waiting"
    assert standing(record, ms("2026-11-28T22:00")) == "active"
    assert standing(record, record.ends_ms) == "over"
