"""docs/api.md: its examples work one after the other, and nothing that opens anything is on Kafka."""

import asyncio
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import AUDIT, CONSOLE, CONTROL
from streams.api.app import PREFIX, application
from streams.api.roles import Role
from streams.api.routes.incidents import IncidentQuery
from streams.process.kafka import Kafka
from streams.process.reading import records
from tests.api.conftest import parts
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table
from tests.engine.harness import until

PAGE = read("docs/api.md")
INVITE, SET_UP, TOKEN, ACKNOWLEDGE, STREAM = blocks(PAGE, "bash")
PASSWORD = "correct horse battery staple"


def test_every_role_is_told() -> None:
    """From the smallest to the greatest."""
    assert [codes(row[0])[0] for row in table(section(PAGE, "Roles"))] == [role.text for role in Role]


def test_every_command_is_told() -> None:
    """The table has those of `stormweir accounts`."""
    found = set(re.findall(r"^@commands\.command\(.*?\)\ndef (\w+)\(", read("streams/cli/accounts.py"), re.MULTILINE))
    assert {f"stormweir accounts {name.rstrip('_')}" for name in found} == {
        codes(row[0])[0] for row in table(section(PAGE, "Accounts"))
    }


def test_every_route_is_told() -> None:
    """The table has the beginnings of all paths, and no other."""
    told = {code.removeprefix("/") for row in table(section(PAGE, "Routes")) for code in codes(row[0])}
    paths = application(parts()).openapi()["paths"]
    assert told == {path.removeprefix(f"{PREFIX}/").partition("/")[0] for path in paths}


def test_every_filter_of_the_list_is_told() -> None:
    """The table of parameters has those of the route; that of events has those of the stream."""
    lists = section(PAGE, "Incidents").partition("### Commands")[0]
    told = {code for row in table(lists) for code in codes(row[0])}
    assert told == set(IncidentQuery.model_fields)
    assert [codes(row[0])[0] for row in table(section(PAGE, "The stream"))] == ["incidents", "reset", "ping"]


@pytest.mark.stack
def test_an_owner_is_invited_logs_in_and_makes_a_token(reader: Reader, tmp_path: Path) -> None:
    """As the page tells it; then the topics have hashes only, and the audit has each step with its secrets masked."""
    first = f"http://127.0.0.1:{reader.settings.port('api')}/#/setup?token=swi_"
    log = reader.settings.data_dir / "logs" / "api.log"
    asyncio.run(until(lambda: first in log.read_text(), 20, "the first owner's link"))
    shown = reader.bash(INVITE)
    cookies = tmp_path / "ada.cookies"
    setup, token = (text.replace("ada.cookies", str(cookies)) for text in (SET_UP, TOKEN))
    session = json.loads(reader.bash(setup).splitlines()[-1])
    assert (session["login"], session["name"], session["role"]) == ("ada", "Ada Lovelace", "owner")
    count = "SELECT countIf(kind = 'account'), countIf(action = 'created' AND kind = 'token') FROM audit"
    listed, _, audit = reader.bash(f"{token}\necho\necho $token").partition('{"items"')
    assert listed == ""
    secret = audit.splitlines()[-1]
    assert re.fullmatch(r"swt_[\w-]{43}", secret)
    # ada made, invited again, set up, logged in
    reader.wait_for(count, "4\t1")
    actors = reader.sql("SELECT DISTINCT actor FROM audit WHERE kind IN ('account', 'token')").split()
    assert sorted(re.sub(r"cli:.+", "cli:", actor) for actor in actors) == ["ada", "cli:"]
    kept = asyncio.run(_everything(reader))
    cookie = re.search(r"sws_[\w-]{43}", cookies.read_text())
    assert cookie is not None
    link = re.search(r"swi_[\w-]{43}", shown)
    assert link is not None
    for text in (PASSWORD, secret, cookie[0], link[0]):
        assert text.encode() not in kept
    assert b"$argon2id$" in kept
    assert "argon2id" not in reader.sql("SELECT * FROM audit")
    reader.sql(blocks(PAGE, "sql")[0])
    url = f"http://127.0.0.1:{reader.settings.port('api')}/api/v1/audit"
    whole = _get(f"{url}?kind=account,token", secret)
    assert [entry["action"] for entry in whole["items"]] == ["created", "logged_in", "changed", "changed", "created"]
    pages, after = [], ""
    while after is not None:
        page = _get(f"{url}?kind=account,token&limit=2&after={after}", secret)
        pages += page["items"]
        after = page["next"]
    assert pages == whole["items"]
    for query, found in (("q=LOVELACE", 1), ("actor=ada&action=logged_in", 1), ("to=2020-01-01T00:00:00Z", 0)):
        assert len(_get(f"{url}?{query}", secret)["items"]) == found, query


@pytest.mark.stack
def test_what_is_open_is_acknowledged_and_followed(reader: Reader, tmp_path: Path) -> None:
    """The loop of the page acknowledges what it finds, and the stream begins with where it is."""
    link = reader.bash("stormweir accounts invite grace --role owner").split("token=")[-1].split()[0]
    console = f"http://127.0.0.1:{reader.settings.port('api')}"
    api, jar = f"{console}/api/v1", tmp_path / "grace.cookies"

    def post(path: str, body: dict[str, Any]) -> str:
        headers = f"-H 'Content-Type: application/json' -H 'Origin: {console}'"
        return reader.bash(f"curl -sS --fail -c {jar} -b {jar} {api}{path} {headers} -d '{json.dumps(body)}'")

    post("/setup", {"token": link, "password": PASSWORD})
    token = json.loads(post("/tokens", {"name": "loop", "role": "admin"}))["token"]
    sender = {"name": "api page", "type": "webhook", "service": "api-page", "create_service": True}
    new = json.loads(post("/integrations", sender))
    reader.bash(new["test_request"])
    listed = f"{api}/incidents?service=api-page"
    asyncio.run(until(lambda: _get(listed, token)["total"] == 1, 30, "the incident"))
    looked_for = ACKNOWLEDGE.replace("q=disk", "q=api-page")
    followed = reader.bash(f"token={token}\n{looked_for}\n{STREAM}")
    assert "event: ping" in followed
    (incident,) = _get(listed, token)["items"]
    assert (incident["status"], incident["acknowledged_by"]) == ("acknowledged", "token:loop")
    running = _get(f"{api}/status", token)
    assert (running["kafka"], running["clickhouse"]) == (True, True)
    assert (isinstance(running["lag"], int), running["as_of"] is not None) == (True, True)


def _get(url: str, token: str) -> dict[str, Any]:
    """The answer to a program with this token."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


async def _everything(reader: Reader) -> bytes:
    """The bytes of the topics that remember people."""
    kafka = Kafka.of(reader.settings)
    return b"".join(
        [
            (record.key or b"") + (record.value or b"")
            for topic in (CONTROL, CONSOLE, AUDIT)
            async for record in records(kafka, topic)
        ]
    )
