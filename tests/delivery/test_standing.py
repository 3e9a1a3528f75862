"""How destinations do, as operators see it: from the configuration and what the notifier says."""

import pytest

from schemas.control import AnyRecord, Destination, QuietHours, Rule, Service, Tenant
from schemas.wire.notification import DestinationStatus
from sinks.channels import CHANNELS
from sinks.contract import COMMON_HELP
from sinks.reasons import explain
from streams.control.destinations import find_destination, rules_of, without
from streams.control.edits import FieldError
from streams.control.secrets import NO_KEYS
from streams.control.shown import masked_values
from streams.control.state import Control
from streams.control.write import Change, values_of
from streams.delivery.standing import standings
from tests.sinks.samples import control as known
from tests.sinks.samples import destination

URL = "https://hooks.example.com/T0/secret-path?token=abc"


def configured(*destinations: Destination, rules: tuple[Rule, ...] = ()) -> Control:
    """A configuration with these destinations and rules."""
    state = known(*destinations)
    for key, value in values_of(Change(rules), NO_KEYS).items():
        assert state.apply(key, value) is None
    return state


def status(**fields: object) -> DestinationStatus:
    """What the notifier says of one."""
    return DestinationStatus(**{"waiting": 0, "oldest": 0, "state": "active", **fields})  # type: ignore[arg-type]


def test_status_is_active_inactive_or_error() -> None:
    """A39: the configuration decides about inactive, the last failure about error, which is told in plain words."""
    state = configured(
        destination(URL, id="works"), destination(URL, id="off", enabled=False), destination(URL, id="dead")
    )
    statuses = {
        ("default", "works"): status(last_used=5),
        # The notifier has not seen yet that it is disabled.
        ("default", "off"): status(state="error", reason="refused", waiting=3, oldest=7),
        ("default", "dead"): status(state="error", reason="unauthorized", waiting=9, oldest=8),
    }
    found = {each.destination.id: each for each in standings(state, statuses)}
    assert {name: each.state for name, each in found.items()} == {"dead": "error", "off": "inactive", "works": "active"}
    assert found["works"].last_used == 5
    assert (found["off"].waiting, found["off"].oldest, found["off"].reason) == (3, 7, "")
    assert found["dead"].help == COMMON_HELP["unauthorized"]
    assert list(found) == sorted(found)


def test_one_that_was_never_used_is_active() -> None:
    """The notifier has said nothing of it, nor has anybody of one that is enabled again and works."""
    state = configured(destination(URL))
    for statuses in ({}, {("default", "ops"): status(state="inactive")}):
        (found,) = standings(state, statuses)
        assert (found.state, found.waiting, found.last_used, found.help) == ("active", 0, 0, None)


def test_rules_that_use_it_are_counted() -> None:
    """Rules of its tenant that route to it, in their order."""
    rules = (
        Rule(id="late", order=200, route=("ops", "other")),
        Rule(id="early", order=1, route=("ops",)),
        Rule(id="apart", route=("other",)),
        Rule(id="foreign", tenant="acme", route=("ops",)),
    )
    (found,) = standings(configured(destination(URL), rules=rules), {})
    assert found.rules == ("early", "late")


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("reason", COMMON_HELP)
def test_every_reason_says_what_to_do(channel: str, reason: str) -> None:
    """A channel's own words go before the common ones; details behind a colon do not matter."""
    expected = CHANNELS[channel].help.get(reason, COMMON_HELP[reason])
    assert explain(channel, reason) == explain(channel, f"{reason}: KeyError") == expected


def test_a_reason_by_the_channel_itself_is_shown_as_it_is() -> None:
    """A RenderError is a sentence about the settings; so is that of a channel that is gone."""
    for channel in ("webhook", "fax"):
        assert explain(channel, "the template has no title").means == "the template has no title"
        assert "settings" in explain(channel, "the template has no title").do


def test_settings_are_shown_without_secrets() -> None:
    """The host of a secret URL stays; what is not set stays empty."""
    shown = masked_values(destination(URL, secret="whsec_abcdefgh", headers={"Authorization": "Bearer Abc"}))
    assert (shown["url"], shown["secret"], shown["headers"]) == ("https://hooks.example.com/***", "***", "***")
    assert not {"secret-path", "token", "whsec_abcdefgh", "Bearer"} & set(str(shown).replace("/", " ").split())
    plain = masked_values(destination(URL))
    assert (plain["secret"], plain["headers"]) == (None, {})


def test_deleting_takes_it_out_of_everything_that_names_it() -> None:
    """A43: three rules and a fallback name it; afterwards none does, and they are otherwise as they were."""
    rules = (
        Rule(id="a", route=("ops", "other")),
        Rule(id="b", route=("other", "ops")),
        Rule(id="c", route=("ops",)),
        Rule(id="d", route=("other",)),
        Rule(id="e", tenant="acme", route=("ops",)),
    )
    other = destination(URL, id="other", fallback="ops")
    state = configured(destination(URL), other, destination(URL, id="ops", tenant="acme"), rules=rules)
    found = find_destination(state, "default", "ops")
    change = without(state, found)
    values = values_of(change, NO_KEYS)
    assert set(values) == {"rule/default/a", "rule/default/b", "rule/default/c", "destination/default/other",
                           "destination/default/ops"}  # fmt: skip
    for key, value in values.items():
        assert state.apply(key, value) is None
    assert state.destination("default", "ops") is None
    assert [state.rules["default", name].route for name in "abcd"] == [("other",), ("other",), (), ("other",)]
    assert state.destination("default", "other") == other.model_copy(update={"fallback": None})
    assert state.rules["acme", "e"].route == ("ops",)
    acme = find_destination(state, "acme", "ops")
    assert [rule.id for rule in rules_of(state, acme)] == ["e"]


def test_deleting_takes_it_out_of_services_tenants_and_quiet_hours() -> None:
    """Hours that were for it alone are gone: without destinations they would be for everybody."""
    mine = QuietHours(zone="UTC", hours="22:00-06:00", destinations=("ops",))
    shared = QuietHours(zone="UTC", hours="12:00-13:00", destinations=("ops", "other"))
    everybody = QuietHours(zone="UTC", hours="00:00-01:00")
    state = configured(destination(URL), destination(URL, id="other"))
    records: list[AnyRecord] = [
        Service(id="web", destinations=("ops", "other"), quiet_hours=(mine, shared, everybody)),
        Service(id="db", destinations=("other",)),
        Tenant(id="default", severity_routes={"critical": ("ops", "other"), "warning": ("ops",)}),
    ]
    for key, value in values_of(Change(records), NO_KEYS).items():
        assert state.apply(key, value) is None
    values = values_of(without(state, find_destination(state, "default", "ops")), NO_KEYS)
    assert set(values) == {"service/default/web", "tenant/default", "destination/default/ops"}
    for key, value in values.items():
        assert state.apply(key, value) is None
    web = state.services["default", "web"]
    assert web.destinations == ("other",)
    assert web.quiet_hours == (shared.model_copy(update={"destinations": ("other",)}), everybody)
    assert state.tenants["default"].severity_routes == {"critical": ("other",), "warning": ()}


def test_one_that_does_not_exist_is_named() -> None:
    """A42: after the deletion it is not found."""
    with pytest.raises(FieldError, match="destination: the tenant default has no 'gone'"):
        find_destination(configured(), "default", "gone")
