"""What a file's records name must exist; each problem has its path."""

import pytest

from schemas.control import Rule, control_key, dump
from streams.control import document
from streams.control.state import Control

FILE = """
tenants:
  - {id: default, severity_routes: {critical: [chat, gone-1]}}
services:
  - id: web
    destinations: [gone-2]
    quiet_hours: [{zone: UTC, hours: 22:00-07:00, destinations: [chat, gone-3]}]
destinations:
  - {id: chat, url: "https://chat.example.com/", fallback: gone-4}
  - {id: elsewhere, tenant: other, url: "https://chat.example.com/"}
rules:
  - id: night
    route: [chat, elsewhere]
    quiet_hours:
      - {zone: UTC, hours: 22:00-07:00}
      - {zone: UTC, hours: 12:00-13:00, days: [sun], destinations: [gone-5]}
  - {id: there, tenant: other, route: [elsewhere, chat]}
"""


def test_every_destination_that_is_named_must_exist() -> None:
    """In all places where one may be named, and of the same tenant."""
    with pytest.raises(document.ConfigurationError) as caught:
        document.check(document.load(FILE), {})
    assert str(caught.value).splitlines()[1:] == [
        "  tenants.0.severity_routes.critical.1: no destination 'gone-1'",
        "  services.0.destinations.0: no destination 'gone-2'",
        "  services.0.quiet_hours.0.destinations.1: no destination 'gone-3'",
        "  destinations.0.fallback: no destination 'gone-4'",
        "  rules.0.route.1: no destination 'elsewhere'",
        "  rules.0.quiet_hours.1.destinations.0: no destination 'gone-5'",
        "  rules.1.route.1: no destination 'chat'",
    ]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (
            "services: [{id: a, quiet_hours: [{zone: Mars/Olympus, hours: 22:00-07:00}]}]",
            "services.0.quiet_hours.0.zone:",
        ),
        ("services: [{id: a, quiet_hours: [{zone: UTC, hours: 22:00-22:00}]}]", "services.0.quiet_hours.0.hours:"),
        ("services: [{id: a, notify: {resovled: false}}]", "services.0.notify.resovled:"),
        ("rules: [{id: a, quiet_hours: [{zone: UTC, hours: 22:00}]}]", "rules.0.quiet_hours.0.hours:"),
        ("rules: [{id: a, mentions: ['<!channel>']}]", "rules.0.mentions.0:"),
        ('rules: [{id: a, mentions: ["U1\\n@here"]}]', "rules.0.mentions.0:"),
        ("rules: [{id: a, match: [severity=info, 'service==web']}]", "rules.0.match.1: 'service==web' needs a value"),
        ("rules: [{id: a, when: a=b and}]", "rules.0.when: 'a=b and' needs a condition"),
        ("rules: [{id: a, drop: true, route: [b]}]", "rules.0: Value error, route: has no effect"),
        ("rules: [{id: a, group_by: [host name]}]", "rules.0.group_by.0:"),
        ("lookups: [{id: a, key: host, rows: {'': {rack: b}}}]", "lookups.0.rows"),
        ("tenants: [{id: a, severity_routes: {fatal: [b]}}]", "tenants.0.severity_routes.fatal"),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(wrong: str, path: str) -> None:
    """The one problem's line begins with the place in the file."""
    with pytest.raises(document.ConfigurationError) as caught:
        document.load(wrong)
    (line,) = str(caught.value).splitlines()[1:]
    assert line.strip().startswith(path), line


def test_quiet_hours_are_written_and_read_alike() -> None:
    """A file applied twice changes nothing."""
    declared = document.load(FILE)
    assert document.plan(declared, declared) == ([], [], [])


def test_what_rules_refer_to_must_exist() -> None:
    """A service to move to, a lookup table, a calendar."""
    text = "rules: [{id: a, service: gone, enrich: [hosts], when: not during holidays}]"
    with pytest.raises(document.ConfigurationError) as caught:
        document.check(document.load(text), {})
    assert str(caught.value).splitlines()[1:] == [
        "  rules.0.service: no service 'gone'",
        "  rules.0.enrich.0: no lookup 'hosts'",
        "  rules.0.when: no calendar 'holidays'",
    ]


@pytest.mark.parametrize(
    "rule", ["{id: a, match: [service=a, service=b]}", "{id: a, when: source in ()}", "{id: a, match: [severity=high]}"]
)
def test_a_rule_that_can_never_match_is_a_warning(rule: str) -> None:
    """The file is valid, and the rule is named."""
    (warning,) = document.check(document.load(f"rules: [{rule}]"), {})
    assert "the rule can never match" in warning
    assert warning.startswith("rules.0.")


def test_differences_show_the_beginning_of_a_long_table() -> None:
    """A lookup table of 900 kB is not printed."""
    rows = ", ".join(f"host-{number}: {{rack: r{number}}}" for number in range(1000))
    changes = document.plan(document.load(f"lookups: [{{id: hosts, key: host, rows: {{{rows}}}}}]"), {})
    assert max(map(len, changes.lines)) < 600


def test_a_rule_that_drops_is_read_back_as_it_was_written() -> None:
    """On the topic every field is there, also those with their defaults: none of them is an effect."""
    control = Control()
    rule = Rule.model_validate({"id": "noise", "match": ['severity="info"'], "drop": True})
    assert control.apply(control_key(rule), dump(rule)) is None
    assert control.rules["default", "noise"] == rule


def test_what_is_shown_of_a_secret_is_none() -> None:
    """A file that was copied from a page does not replace secrets by asterisks."""
    file = """
destinations:
  - {id: mail, type: email, host: m.example.com, username: a, password: "***", sender: a@b.io, recipients: [b@b.io]}
  - {id: chat, type: slack_webhook, url: "https://hooks.slack.com/***"}
  - {id: right, url: "https://hooks.example.com/in", secret: "three *** stars"}
"""
    with pytest.raises(document.ConfigurationError) as caught:
        document.load(file)
    assert str(caught.value).splitlines()[1:] == [
        f"  destinations.{place}: is what is shown in place of the secret: write the secret itself"
        for place in ("0.password", "1.url")
    ]
