"""Mails out of the outbox's table to real SMTP servers that refuse; what counts is what lies in the mailboxes."""

import asyncio
import ssl

import msgspec
import pytest

from schemas import topics
from schemas.control import control_key, dump
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import DestinationStatus, Transition
from sinks.channels.email import EmailDestination
from sinks.outbox import outbox
from tests.kafka.certificates import Authority
from tests.sinks.outbox_room import Room, room
from tests.sinks.post_office import (
    DROP,
    GREYLISTED,
    NO_BASIC,
    PUT_OFF,
    SHUTTING_DOWN,
    TOKEN,
    PostOffice,
    post_office,
)
from tests.sinks.samples import control, notification, of_incident, recording, until
from tests.sinks.test_mail import granting

ADA, GRACE, EDSGER = "ada@example.com", "grace@example.com", "edsger@example.com"


def destination(office: PostOffice, **fields: object) -> EmailDestination:
    """The destination `ops`: three people behind a server without encryption."""
    known = {
        "id": "ops",
        "host": "127.0.0.1",
        "port": office.port,
        "security": "none",
        "sender": "Stormweir <alerts@example.com>",
        "recipients": [ADA, GRACE, EDSGER],
        "per_minute": 60_000,
    }
    return EmailDestination.model_validate(known | fields)


def counts(office: PostOffice) -> list[int]:
    """How many mails lie in the three mailboxes."""
    return [len(office.seen_by(person)) for person in (ADA, GRACE, EDSGER)]


def statuses(desk: Room) -> list[DestinationStatus]:
    """What was reported of the destination, in order."""
    reports = [output.value for output in desk.outputs if output.topic == topics.DESTINATIONS_STATUS.name]
    return [msgspec.json.decode(report or b"", type=DestinationStatus) for report in reports]


async def test_one_mail_to_all() -> None:
    """One transaction, one row with SMTP's code."""
    async with post_office() as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await desk.ended(1)
        assert [(row.outcome, row.http_status, row.error) for row in desk.deliveries] == [("delivered", 250, "")]
        assert [taken.recipients for taken in office.taken] == [[ADA, GRACE, EDSGER]]


@pytest.mark.parametrize("reply", [PUT_OFF, GREYLISTED])
async def test_a_greylisted_recipient_gets_it_later_and_the_others_once(reply: str) -> None:
    """451 for one of three, then 250: the rows say who was put off, and each mailbox has one mail, the same."""
    async with post_office(replies={GRACE: [reply, reply]}) as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await desk.ended(1, step=0.5)
        assert desk.ends == [("retry", f"greylisted: {GRACE}"), ("retry", "greylisted"), ("delivered", "")]
        assert counts(office) == [1, 1, 1]
        assert len({taken.mail["Message-ID"] for taken in office.taken}) == 1
        assert {taken.mail["To"] for taken in office.taken} == {f"{ADA}, {GRACE}, {EDSGER}"}


async def test_a_recipient_refused_for_good_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """550 for one of three: delivered, with the refused one in the row and in the destination's status."""
    monkeypatch.setattr(outbox, "REPORT_S", 0.02)
    async with post_office(never=frozenset({GRACE})) as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await desk.ended(1)
        assert desk.ends == [("delivered", f"recipient_refused: {GRACE}")]
        assert counts(office) == [1, 0, 1]
        assert desk.dead_letters == []
        await until(lambda: any(status.last_used for status in statuses(desk)))
        assert (statuses(desk)[-1].state, statuses(desk)[-1].reason) == ("error", f"recipient_refused: {GRACE}")


async def test_some_refused_for_good_and_one_later() -> None:
    """Whoever was put off first and is refused then: the message stays delivered, and is no dead letter."""
    gone = "550 5.1.1 no such user"
    async with post_office(replies={GRACE: [PUT_OFF, gone]}) as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await desk.ended(1, step=0.5)
        assert desk.ends[-1] == ("delivered", f"recipient_refused: {GRACE}")
        assert counts(office) == [1, 0, 1]
        desk.take(of_incident(7))
        await desk.ended(2)
        assert (counts(office), desk.dead_letters) == ([2, 1, 2], [])


async def test_a_recipient_put_off_delays_no_other_mail() -> None:
    """Six mails in a row reach two of three: the server works, so the seventh goes out at once."""
    async with post_office(replies={GRACE: [PUT_OFF] * 100}) as office, room(control(destination(office))) as desk:
        desk.take(*(of_incident(n) for n in range(6)))
        await until(lambda: len(desk.deliveries) == 6)
        desk.take(of_incident(7))
        await until(lambda: counts(office) == [7, 0, 7])


async def test_a_recipient_put_off_until_the_deadline() -> None:
    """After 15 minutes the others' mail is what was delivered: no dead letter, which would mail them again."""
    async with post_office(replies={GRACE: [PUT_OFF] * 1000}) as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await desk.ended(1, step=15)
        assert desk.ends[-1] == ("delivered", "greylisted")
        assert counts(office) == [1, 0, 1]
        assert desk.dead_letters == []


async def test_a_new_process_knows_whom_the_mail_reached() -> None:
    """The notifier is killed between the two attempts: nobody is mailed twice."""
    async with post_office(replies={GRACE: [PUT_OFF]}) as office:
        async with room(control(destination(office))) as desk:
            desk.take(notification())
            await until(lambda: len(desk.deliveries) == 1)
        async with room(control(destination(office)), state=desk.state) as again:
            again.time.advance(60)
            await again.ended(1, step=1)
        assert counts(office) == [1, 1, 1]


async def test_newer_news_go_to_all_again() -> None:
    """A resolve that joins a mail which reached some replaces it, for everybody."""
    resolved = notification(1, Transition.RESOLVED, status=Status.RESOLVED)
    async with post_office(replies={GRACE: [PUT_OFF]}) as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await until(lambda: len(desk.deliveries) == 1)
        desk.take(resolved)
        await desk.ended(2, step=0.5)
        assert counts(office) == [2, 1, 2]
        assert office.seen_by(GRACE)[0]["Subject"].startswith("\u2705 Opened and resolved")


async def test_news_that_join_while_a_mail_is_under_way_go_to_all() -> None:
    """A resolve that comes while the first mail reaches two of three is for all three."""
    resolved = notification(1, Transition.RESOLVED, status=Status.RESOLVED)
    async with post_office(replies={GRACE: [PUT_OFF]}) as office, room(control(destination(office))) as desk:
        office.gate = asyncio.Event()
        desk.take(notification())
        await until(lambda: office.open == 1)
        desk.take(resolved)
        office.gate.set()
        await desk.ended(2, step=0.5)
        assert counts(office) == [2, 1, 2]


async def test_a_recipient_who_left_meanwhile() -> None:
    """The one who was put off is removed from the settings: what reached the others is done."""
    async with post_office(replies={GRACE: [PUT_OFF]}) as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await until(lambda: len(desk.deliveries) == 1)
        fewer = destination(office, recipients=[ADA, EDSGER])
        desk.control.apply(control_key(fewer), dump(fewer))
        await desk.ended(1, step=0.5)
        assert desk.ends[-1] == ("delivered", "nobody_left")
        assert counts(office) == [1, 0, 1]


@pytest.mark.parametrize(("reply", "copies", "reason"), [(SHUTTING_DOWN, 1, "unavailable"), (DROP, 2, "reset")])
async def test_the_connection_breaks_at_the_end(reply: str, copies: int, reason: str) -> None:
    """421 in the middle: one copy. Taken, but the reply is lost: a second copy with the same Message-ID."""
    async with post_office(on_data=[reply]) as office, room(control(destination(office))) as desk:
        desk.take(notification())
        await desk.ended(1, step=0.5)
        assert desk.ends == [("retry", reason), ("delivered", "")]
        assert counts(office) == [copies] * 3
        assert len({mail["Message-ID"] for mail in office.seen_by(ADA)}) == 1


async def test_too_large_is_given_up_and_the_next_goes_out() -> None:
    """552 over SIZE concerns one mail: a dead letter, and no pause for others."""
    async with post_office(size=20_000) as office, room(control(destination(office))) as desk:
        desk.take(of_incident(1, labels={f"label{n}": "x" * 900 for n in range(50)}), of_incident(2))
        await desk.ended(2)
        assert sorted(desk.ends) == [("delivered", ""), ("failed", "too_large")]
        assert len(desk.dead_letters) == 1
        assert counts(office) == [1, 1, 1]


@pytest.mark.parametrize(("reply", "reason"), [("535 5.7.8 no", "auth_failed"), (NO_BASIC, "oauth_needed")])
async def test_a_login_that_is_refused_waits_for_new_settings(
    tmp_path_factory: pytest.TempPathFactory, reply: str, reason: str
) -> None:
    """One login is tried, what waits stays, and goes out with the corrected settings."""
    authority = Authority(tmp_path_factory.mktemp("mail"))
    server, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=authority.path)
    server.load_cert_chain(authority.issue("mail"))
    async with post_office(starttls=server, login=("u", "new"), token=TOKEN, on_login=[reply]) as office:
        old = destination(office, security="starttls", username="u", password="old")
        async with recording(granting()) as endpoint, room(control(old), mail_tls=trust) as desk:
            desk.take(of_incident(1))
            await desk.ended(1)
            desk.take(of_incident(2))
            assert desk.ends == [("failed", reason)]
            assert (desk.waiting, office.logins) == (1, 1)
            mended = {"password": "new"}
            if reason == "oauth_needed":
                mended = {"password": "1//refresh", "oauth_token_url": endpoint.url, "oauth_client_id": "app"}
            new = destination(office, **{"security": "starttls", "username": "u", **mended})
            desk.control.apply(control_key(new), dump(new))
            await desk.ended(2, step=0.5)
            assert desk.ends[1:] == [("delivered", "")]
            assert counts(office) == [1, 1, 1]


async def test_a_storm_is_a_few_mails_and_a_summary() -> None:
    """Of 200 incidents, three critical: the critical ones have mails of their own; the rest shares summaries."""
    storm = [of_incident(n, severity=Severity.WARNING) for n in range(200)]
    critical = [of_incident(1000 + n, severity=Severity.CRITICAL) for n in range(3)]
    async with post_office() as office, room(control(destination(office, per_minute=30))) as desk:
        desk.take(*storm, *critical)
        await desk.ended(203, step=0.5)
        subjects = [mail["Subject"] for mail in office.seen_by(ADA)]
        assert len(subjects) <= 15
        assert sum(subject.startswith("\U0001f6a8 Disk") for subject in subjects) == 3
        assert any("incidents changed" in subject for subject in subjects)
        assert sum(outcome == "failed" for outcome, _ in desk.ends) == 0
