"""Debian's Postfix as the mail server: STARTTLS that it insists on, greylisting by its policy protocol, mailboxes."""

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sinks.channels.email import EmailDestination
from tests.conftest import FreePorts
from tests.kafka.certificates import Authority
from tests.sinks.outbox_room import room
from tests.sinks.samples import control, notification, of_incident, until

pytestmark = pytest.mark.skipif(
    shutil.which("postfix") is None or os.geteuid() != 0, reason="needs Debian's package postfix, and root to start it"
)

ADA, LATE, GONE = "ada@example.com", "late@example.com", "gone@example.com"
MAIN = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/log
maillog_file_prefixes = {home}
myhostname = mail.test
inet_interfaces = 127.0.0.1
alias_maps =
local_recipient_maps =
mydestination =
mynetworks =
message_size_limit = 20000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = example.com
virtual_mailbox_base = {home}/boxes
virtual_mailbox_maps = inline:{{ {{ ada@example.com = ada/ }} {{ late@example.com = late/ }} }}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient, check_policy_service inet:127.0.0.1:{policy}
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {home}/mail.pem
"""
MASTER = """
127.0.0.1:{submission} inet n - n - - smtpd
127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def postfix(home: Path, **ports: int) -> Iterator[None]:
    """An instance of its own, in this folder."""
    for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
        (home / name).write_text(text.format(home=home, **ports))
    for name, owner in (("queue", "root"), ("data", "postfix"), ("boxes", "nobody")):
        (home / name).mkdir()
        shutil.chown(home / name, owner)
    with (home / "console").open("wb") as output:
        process = subprocess.Popen(["postfix", "-c", str(home), "start-fg"], stdout=output, stderr=output)
    try:
        yield
    finally:
        subprocess.run(["postfix", "-c", str(home), "stop"], check=True, capture_output=True)
        process.wait(20)


@asynccontextmanager
async def greylist(port: int, late: str) -> AsyncIterator[list[str]]:
    """A policy server (postfix.org/SMTPD_POLICY_README.html) that puts off `late` once; who was asked about so far."""
    asked: list[str] = []
    talks: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        while request := (await reader.read(65_536)).decode():
            recipient = dict(line.partition("=")[::2] for line in request.splitlines())["recipient"]
            put_off = recipient == late and late not in asked
            asked.append(recipient)
            writer.write(f"action={'450 4.2.0 Greylisted, try again later' if put_off else 'DUNNO'}\n\n".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield asked
        await asyncio.gather(*filter(None, talks))


def box(home: Path, name: str) -> list[EmailMessage]:
    """What lies in a mailbox."""
    files = sorted((home / "boxes" / name / "new").glob("*"))
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


def started(home: Path) -> bool:
    """Whether Postfix says so."""
    log = home / "log"
    return log.exists() and "daemon started" in log.read_text()


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that Postfix's users may enter, which pytest's own are not."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_postfix_takes_what_it_should_and_refuses_the_rest(
    security: str, home: Path, free_ports: FreePorts
) -> None:
    """One has it at once, one after the greylist, one does not exist; a mail over SIZE is a dead letter."""
    submission, smtps, asking = free_ports(3)
    authority = Authority(home)
    authority.issue("mail")
    to = EmailDestination.model_validate(
        {
            "id": "ops",
            "host": "127.0.0.1",
            "port": smtps if security == "tls" else submission,
            "security": security,
            "sender": "Stormweir <alerts@stormweir.test.example>",
            "recipients": [ADA, LATE, GONE],
            "per_minute": 60_000,
            "attach_csv": True,
        }
    )
    trust = ssl.create_default_context(cafile=authority.path)
    async with greylist(asking, LATE) as asked:
        with postfix(home, submission=submission, smtps=smtps, policy=asking):
            await until(lambda: started(home), 30)
            async with room(control(to), mail_tls=trust) as desk:
                desk.take(notification())
                await desk.ended(1, step=0.5)
                assert desk.ends == [("retry", f"greylisted: {LATE}"), ("delivered", f"recipient_refused: {GONE}")]
                assert asked == [ADA, LATE, LATE]
                await until(lambda: box(home, "ada") and box(home, "late"), 30)
                desk.take(of_incident(1, labels={f"label{n}": "x" * 900 for n in range(50)}))
                await desk.ended(2)
                assert desk.ends[-1] == ("failed", "too_large")
    (first,), (second,) = box(home, "ada"), box(home, "late")
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Subject"] == '\U0001f6a8 Disk "full" on db-1 \u2603'
    assert [part.get_content_type() for part in first.iter_attachments()] == ["text/csv"]
    assert "with ESMTPS" in first["Received"]
