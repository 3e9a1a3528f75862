"""docs/kafka.md: properties and ACLs are those of the code, and its examples can be read."""

from schemas.kafka import CHOICES, NAMES, KafkaProperties, kafka_properties, parse_properties
from schemas.topics import TOPICS
from streams.process.acls import ACLS, Acl
from tests.docs.page import blocks, codes, read, section, table
from tests.kafka.page import listed

PAGE = read("docs/kafka.md")


def test_every_property_is_listed() -> None:
    """Names and order are those of the dataclass; defaults and choices are told."""
    rows = table(section(PAGE, "How clients connect"))
    assert [codes(row[0])[0] for row in rows] == list(NAMES)
    for name, default, meaning in rows:
        (name,) = codes(name)
        assert codes(default) == list(filter(None, [getattr(KafkaProperties(), name.replace(".", "_"))]))
        assert all(choice in codes(default) + codes(meaning) for choice in CHOICES.get(name, ()))


def test_examples_are_accepted() -> None:
    """Each file of properties on the page is one that a process starts with."""
    examples = blocks(PAGE, "properties")
    assert {kafka_properties(parse_properties(text)).security_protocol for text in examples} == {"SASL_SSL", "SSL"}
    assert len(examples) == 3


def _names(pattern: Acl) -> set[str]:
    """What a row's name stands for."""
    if not pattern.name.endswith("*"):
        return {pattern.name}
    return {topic.name for topic in TOPICS if topic.name.startswith(pattern.name.removesuffix("*"))}


def test_every_acl_is_listed() -> None:
    """The table has what each process does in Kafka, and nothing more."""
    told = {
        process: {row._replace(name=name) for row in rows for name in _names(row)} for process, rows in listed().items()
    }
    assert told == {process: set(acls) for process, acls in ACLS.items()}
