"""What a file's records name must exist; each problem has its path."""

import pytest

from streams.control import document

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
