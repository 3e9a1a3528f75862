"""README.md: the first alert arrives, and so does its notification."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import yaml

from schemas.topics import TOPICS
from tests.docs.conftest import Reader
from tests.docs.page import ROOT, blocks, read, section

PAGE = read("README.md")
FIRST = section(PAGE, "A first alert")
EXAMPLE = "examples/stormweir.yaml"
_WAIT_S = 30.0


@pytest.fixture(scope="module")
def receiver(reader: Reader) -> Iterator[None]:
    """`stormweir receiver`, as the page has it in a second terminal."""
    with (reader.output.parent / "receiver").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "receiver"],
            cwd=ROOT,
            env=dict(reader.environ),
            stdout=output,
            stderr=output,
        )
    try:
        _until(f"http://127.0.0.1:{reader.settings.port('receiver')}/summary", None, 200)
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def applied(reader: Reader, receiver: None) -> None:
    """The example is applied, with the receiver's real port, and the gateway has followed."""
    text = read(EXAMPLE)
    path = reader.output.parent / "stormweir.yaml"
    path.write_text(reader.moved(text))
    reader.bash(blocks(FIRST, "bash")[0].replace(EXAMPLE, str(path)))
    example = yaml.safe_load(text)
    [key] = [entry["id"] for entry in example["integrations"] if entry["type"] == "prometheus"]
    port = reader.settings.port("gateway")
    # What is no alert is answered 401 while the key is unknown, and 400 from then on.
    _until(f"http://127.0.0.1:{port}/api/integrations/prometheus?integrationId={key}", b"{}", 400)


def _until(url: str, body: bytes | None, wanted: int) -> None:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            with urllib.request.urlopen(url, body, timeout=5) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            with error:
                status = error.code
        except OSError:
            status = 0
        if status == wanted:
            return
        assert time.monotonic() < deadline, f"{url} answers {status}"
        time.sleep(0.05)


@pytest.mark.stack
@pytest.mark.usefixtures("applied")
def test_the_first_alerts(reader: Reader) -> None:
    """In their order: an alert with the answer that is shown, its notification, its incident, and a webhook."""
    _, send, summary, ask, webhook = blocks(FIRST, "bash")
    [answer] = blocks(FIRST, "json")
    assert json.loads(reader.bash(send)) == json.loads(answer)
    deadline = time.monotonic() + _WAIT_S
    while json.loads(reader.bash(summary))["received"] == 0:
        assert time.monotonic() < deadline, reader.sql("SELECT outcome, error, destination FROM deliveries")
        time.sleep(0.1)
    reader.wait_for("SELECT count() > 0 FROM incidents FINAL WHERE title = 'High CPU on web-01'", "1")
    assert "High CPU on web-01" in reader.bash(ask)
    assert json.loads(reader.bash(webhook))["status"] == "accepted"
    # A page of a provider sends one of this title, too, which is critical.
    reader.wait_for("SELECT count() FROM alerts WHERE summary = 'Batch job late' AND severity = 'error'", "1")


@pytest.mark.stack
@pytest.mark.usefixtures("applied")
def test_alertmanagers_url_is_right(reader: Reader) -> None:
    """A body as Alertmanager sends it, to the URL in the snippet, is accepted."""
    [snippet] = blocks(FIRST, "yaml")
    [receiver] = yaml.safe_load(snippet)["receivers"]
    body = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "a"}, "fingerprint": "f"}]}
    url = receiver["webhook_configs"][0]["url"]
    assert json.loads(reader.bash(f"curl -sS '{url}' -d '{json.dumps(body)}'"))["status"] == "accepted"


@pytest.mark.stack
@pytest.mark.usefixtures("applied")
def test_a_tool_is_connected_with_one_command(reader: Reader) -> None:
    """Contract C35: what the command of the page prints is a URL and a request that work."""
    [command] = blocks(section(PAGE, "Connect a tool"), "bash")
    shown = reader.bash(command)
    url = re.search(r"^webhook url +(\S+)$", shown, re.MULTILINE)
    assert url
    _until(url[1], b"{}", 400)
    assert json.loads(reader.bash(shown.partition("Try it:\n")[2]))["status"] == "accepted"


def test_the_diagram_names_the_topics() -> None:
    """Every topic but the changelogs is in the diagram, and no other."""
    [diagram] = re.findall(r"^```\n(.*?)^```$", section(PAGE, "The path of an alert"), re.MULTILINE | re.DOTALL)
    names = {topic.name for topic in TOPICS if not topic.name.endswith(".changelog")}
    for name in names:
        assert re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", diagram), name
    assert set(re.findall(r"\b(?:alerts|incidents|notifications)\.\w+", diagram)) <= names


def test_every_target_is_one_of_the_makefile() -> None:
    """`make` targets in the pages exist."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in ("README.md", "CONTRIBUTING.md") for name in re.findall(r"`make ([a-z]+)`", read(page))}
    assert named
    assert named <= targets


def test_the_figures_have_their_place() -> None:
    """What `make bench` measured goes between two marks."""
    assert PAGE.count("<!-- figures -->") == PAGE.count("<!-- /figures -->") == 1
