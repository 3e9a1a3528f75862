"""docs/noise.md: its examples do what their tables say."""

from typing import Any

import pytest
import yaml

from schemas.control.life import Life
from streams.control import document
from streams.stages.dedup import FLAPPING_LABELS
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table
from tests.stages.path import START, Path, control

PAGE = read("docs/noise.md")
SECTIONS = ("Hold", "Threshold", "Flapping", "Automatic resolve")


def _parts(heading: str) -> tuple[dict[str, Any], list[list[str]]]:
    text = section(PAGE, heading)
    return yaml.safe_load(blocks(text, "yaml")[0]), table(text)


def test_the_examples_are_valid() -> None:
    """Together they are one file that `stormweir apply` takes."""
    whole: dict[str, list[Any]] = {}
    for block in blocks(PAGE, "yaml"):
        for name, entries in yaml.safe_load(block).items():
            whole.setdefault(name, []).extend(entries)
    document.check(document.load(yaml.safe_dump(whole)), {})


def test_the_table_is_the_model() -> None:
    """It lists every setting of a life, and names the parts of those that have parts."""
    rows = table(PAGE.partition("| Field |")[1] + PAGE.partition("| Field |")[2].partition("\n\n")[0])
    assert [codes(row[0])[0] for row in rows] == list(Life.model_fields)


@pytest.mark.parametrize("heading", SECTIONS)
def test_an_example_tells_what_its_table_says(heading: str) -> None:
    """The events of the table, at their times, through all stages with the settings of the example."""
    declared, rows = _parts(heading)
    records = [
        (f"{kind}/default/{record['id']}", record)
        for kind in ("service", "rule")
        for record in declared.get(f"{kind}s", [])
    ]
    path = Path(control(("rule/default/page", {"id": "page", "route": ["ops"]}), *records))
    heard = 0
    for second, event, expected in rows:
        path.now = START + int(second) * 1000 + (1 if not event and expected else 0)
        path.tick(0)
        if event:
            path.push(event, "key", service=declared["services"][0]["id"])
        new, heard = path.notifications[heard:], len(path.notifications)
        words = [str(n.transition) + (", flapping" if _flaps(n.incident.labels, n.transition) else "") for n in new]
        assert " ".join(words) == expected, (heading, second)


def test_a_group_tells_what_its_table_says() -> None:
    """The same for the threshold of a group, whose events are of several keys."""
    declared, rows = _parts("Threshold of a group")
    (service,) = declared["services"]
    records = (("rule/default/page", {"id": "page", "route": ["ops"]}), (f"service/default/{service['id']}", service))
    path = Path(control(*records))
    for second, key, event, expected in rows:
        path.now = START + int(second) * 1000
        heard = len(path.notifications)
        path.push(event, key, service=service["id"])
        assert " ".join(str(each.transition) for each in path.notifications[heard:]) == expected, (key, second)
    assert path.incident.member_count == 4


def _flaps(labels: dict[str, str], transition: str) -> bool:
    return FLAPPING_LABELS.items() <= labels.items() and transition == "triggered"


@pytest.mark.stack
@pytest.mark.parametrize("query", blocks(PAGE, "sql"), ids=["untold"])
def test_the_question_of_the_page_is_answered(reader: Reader, query: str) -> None:
    """The SQL block runs."""
    reader.sql(query)
