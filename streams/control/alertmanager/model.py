"""What is read of `alertmanager.yml` (https://prometheus.io/docs/alerting/latest/configuration/); the rest is kept.

Values may be secrets, so errors show none.
"""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)


def _duration(value: object) -> object:
    """A duration such as `1h30m` (prometheus/common, ParseDuration)."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if found is None:
        raise ValueError("is no duration such as 5m")
    return timedelta(
        milliseconds=sum(int(count or 0) * unit for count, unit in zip(found.groups(), _UNITS, strict=True))
    )


def _text(value: object) -> object:
    """A scalar as the text that YAML has for it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Text = Annotated[str, BeforeValidator(_text)]
Labels = dict[str, Text]


class Part(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    @property
    def others(self) -> dict[str, Any]:
        """The fields that have no name here."""
        return self.model_extra or {}


class Route(Part):
    """A node of the routing tree."""

    receiver: Text | None = None
    group_by: list[Text] = []
    match: Labels = {}
    match_re: Labels = {}
    matchers: list[str] | str = []
    continue_: bool = Field(default=False, alias="continue")
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    mute_time_intervals: list[str] = []
    active_time_intervals: list[str] = []
    routes: list["Route"] = []


class InhibitRule(Part):
    """A rule by which alerts mute others."""

    name: Text = ""
    source_match: Labels = {}
    source_match_re: Labels = {}
    source_matchers: list[str] | str = []
    target_match: Labels = {}
    target_match_re: Labels = {}
    target_matchers: list[str] | str = []
    equal: list[str] = []


class TimeRange(Part):
    """Hours of a day, `HH:MM`."""

    start_time: str
    end_time: str


class TimeInterval(Part):
    """Times for which all that is given holds."""

    times: list[TimeRange] | None = None
    weekdays: list[str] | None = None
    days_of_month: list[Text] | None = None
    months: list[Text] | None = None
    years: list[Text] | None = None
    location: str = "UTC"


class NamedIntervals(Part):
    """Intervals that routes name; one of them is enough."""

    name: Text
    time_intervals: list[TimeInterval] = []


class Receiver(Part):
    """A receiver; its lists of settings are `others`: `email_configs` and so on."""

    name: Text


class File(Part):
    """The whole file."""

    global_: dict[str, Any] = Field(default={}, alias="global")
    route: Route
    receivers: list[Receiver] = []
    inhibit_rules: list[InhibitRule] = []
    mute_time_intervals: list[NamedIntervals] = []
    time_intervals: list[NamedIntervals] = []
