"""docs/routing.md: its snippets apply, its tables are the model, the walk and the timers of the code."""

import re
from typing import Any

import pytest
import yaml

from schemas.control import Route
from schemas.control.route import MAX_DEPTH, MAX_ROUTES
from schemas.wire.alert import Severity
from schemas.wire.notification import MAX_RELATED
from streams.control import document
from streams.control.alertmanager import convert
from streams.policy.grouping import MAX_MEMBERS
from streams.policy.routing import Routes, Timers
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table
from tests.docs.test_configuration import _default
from tests.policy.test_grouping import Script, numbered
from tests.policy.test_mutes import incident

PAGE = read("docs/routing.md")
(EXAMPLE,) = blocks(PAGE, "yaml")
#: What the page's tree names.
OTHERS = {
    "destinations": [{"id": name, "url": "https://hooks.example.com/x"} for name in ("chat", "dba", "on-call", "web")],
    "escalations": [{"id": "database", "steps": [{"destinations": ["on-call"]}]}],
    "calendars": [{"id": "weekend", "zone": "UTC", "hours": {"sat": ["00:00-24:00"], "sun": ["00:00-24:00"]}}],
}


def _route() -> Route:
    declared = document.load(yaml.safe_dump({**yaml.safe_load(EXAMPLE), **OTHERS}))
    assert document.check(declared, {}) == []
    (route,) = (each for each in declared.values() if isinstance(each, Route))
    return route


def test_the_table_is_the_model() -> None:
    """Every field with its default."""
    text = "| Field |" + section(PAGE, "routes").partition("| Field |")[2].partition("\n\n")[0]
    rows = [(codes(row[0])[0], row[1]) for row in table(text)]
    assert rows == [(field.alias or name, _default(field)) for name, field in Route.model_fields.items()]


def _leaves() -> list[list[str]]:
    return table("| Incident |" + section(PAGE, "routes").partition("| Incident |")[2].partition("\n\n")[0])


@pytest.mark.parametrize("row", _leaves(), ids=lambda row: row[0])
def test_the_walk_of_the_page(row: list[str]) -> None:
    """Each incident of the table comes to these leaves."""
    pairs = dict(re.findall(r'([\w.]+)="([^"]*)"', row[0]))
    labels = {name.removeprefix("labels."): value for name, value in pairs.items() if name.startswith("labels.")}
    severity = Severity[pairs.get("severity", "error").upper()]
    leaves = Routes([_route()]).match(incident(pairs.get("service", "web"), severity=severity, labels=labels))
    assert [leaf.id for leaf in leaves] == codes(row[1])
    told = [name for leaf in leaves for name in (*leaf.destinations, *filter(None, [leaf.escalation]))]
    assert ", ".join(told) == row[2].replace("nobody", "")


def test_the_script_of_the_page() -> None:
    """What is told, and when, by the timers of the code."""
    script = Script(wait=30, interval=300, repeat=420)
    expected = []
    for at, happens, told in table(section(PAGE, "Groups")):
        second = float(at.removesuffix(" s"))
        if told:
            expected.append((second, told))
        if verb := re.search(r"opens|resolves?", happens):
            for name in re.findall(r"\b[a-d]\b", happens[: verb.start()]):
                script.at(second, ("opens" if verb[0] == "opens" else "resolves", _named(name)))
        if later := re.search(r"and resolves at (\d+) s", happens):
            script.at(float(later[1]), ("resolves", _named(happens[0])))
    script.until(1_400)
    assert [(at, _said(script.said(index))) for index, (at, _) in enumerate(script.sent)] == expected


def _named(name: str) -> Any:
    return numbered(ord(name))


def _said(said: dict[str, list[int]]) -> str:
    words = {"open": "still open"}
    return "; ".join(f"{words.get(kind, kind)}: {', '.join(map(chr, each))}" for kind, each in said.items())


def test_the_bounds_are_those_of_the_code() -> None:
    """Numbers in the text."""
    times = Timers()
    assert f"at most {MAX_DEPTH} levels below its root and {MAX_ROUTES:,} routes" in PAGE
    assert f"the times {times.wait // 1000} s, 5 minutes ({times.interval // 1000})" in PAGE
    assert f"4 hours ({times.repeat // 1000})" in PAGE
    assert f"names {MAX_RELATED} of them" in PAGE
    assert f"knows {MAX_MEMBERS:,} incidents by name" in PAGE


def test_severity_stays_a_label() -> None:
    """As the page says of import."""
    made = convert("route: {receiver: x, routes: [{matchers: ['severity=\"critical\"']}]}\nreceivers: [{name: x}]")
    assert codes(section(PAGE, "From alertmanager.yml").partition("**Labels stay labels.**")[2])[1] in made.text


@pytest.mark.stack
def test_the_command_of_the_page_works(reader: Reader) -> None:
    """On Debian's own file."""
    (code,) = blocks(PAGE, "bash")
    told = reader.bash(f"cd $(mktemp -d) && cp /etc/prometheus/alertmanager.yml . && {code}")
    assert "stormweir.yaml is written" in told
