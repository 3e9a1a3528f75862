"""The page of each channel and the table of all, in Markdown, made only from the channels' declarations."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from schemas.control import Destination, SecretMark
from sinks.contract import COMMON_HELP, SKIP_HELP, Channel, Help, Retry
from sinks.sample import SAMPLES
from streams.control.kinds import validate

_MARKUP = re.compile(r"([\\*<>$|])")
#: What every destination has; it is told once for all channels.
_COMMON = frozenset(Destination.model_fields)


def pages(channels: Iterable[Channel[Any]]) -> dict[str, str]:
    """Every page by its file name, and `README.md`, the table of them."""
    listed = list(channels)
    return {f"{channel.slug}.md": page(channel) for channel in listed} | {"README.md": _table(listed)}


def page(channel: Channel[Any]) -> str:
    """Everything about one channel: what to click, what to fill in, how it sends, and what its errors mean."""
    steps = "\n".join(f"{number}. {_escaped(step)}" for number, step in enumerate(channel.setup, 1))
    own = {name: field for name, field in channel.settings.model_fields.items() if name not in _COMMON}
    examples = "".join(map(_example, channel.examples.items()))
    return f"""\
<!-- Written by `stormweir channels --docs docs/channels`: change sinks/channels/{channel.slug}.py instead. -->
# {channel.title}

## What to do there

{steps}

## What to fill in here

{_fields(own)}

`id`, `enabled`, `fallback` and what else every destination has is in
[the list of channels](README.md#every-destination).
{examples}{_environment(channel)}
`stormweir apply` checks the fields and names the one that is wrong. `stormweir destinations test on-call` sends a test.

## How it sends

{_sending(channel)}

## What each error means

{_own_errors(channel)}The errors that all channels share, and why a message may not have been sent at all, are in
[the list of channels](README.md#what-each-error-means). If nothing arrives: [not sending](../not-sending.md).
"""


def _example(named: tuple[str, Mapping[str, object]]) -> str:
    name, example = named
    text = yaml.safe_dump(
        {"destinations": [{"id": "on-call", **example}]}, sort_keys=False, allow_unicode=True, width=10_000
    )
    return f"\n{name[:1].upper()}{name[1:]}:\n\n```yaml\n{text}```\n"


def _fields(fields: Mapping[str, FieldInfo]) -> str:
    rows = "\n".join(
        f"| `{name}` | {_default(field)} | {_escaped(field.description or '')}{_choices(field)} |"
        for name, field in fields.items()
    )
    return f"| Field | Default | Meaning |\n|---|---|---|\n{rows}"


def _default(field: FieldInfo) -> str:
    secret = " (secret)" if any(isinstance(mark, SecretMark) for mark in field.metadata) else ""
    if field.is_required():
        return f"required{secret}"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value in (None, "", (), [], {}):
        return f"none{secret}"
    text = (
        str(value).lower() if isinstance(value, bool) else ", ".join(value) if isinstance(value, tuple) else str(value)
    )
    return f"`{text}`{secret}"


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    return f" One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}."


def _environment(channel: Channel[Any]) -> str:
    if not channel.environment:
        return ""
    rows = "\n".join(
        f"| `{variable}` | `{field}` | {'yes' if variable in channel.required else 'no'} |"
        for variable, field in channel.environment.items()
    )
    return f"""
Without a file, environment variables of the notifier and the worker make the destination `{channel.slug}` of the tenant
`default`. A destination of that id in `stormweir.yaml` takes its place.

| Variable | Field | Needed |
|---|---|---|
{rows}
"""


def _sending(channel: Channel[Any]) -> str:
    urgent, patient = map(_policy, channel.retry)
    again = [f"- A message that fails for a while is tried {urgent}."]
    if urgent != patient:
        again = [
            f"- A message of high urgency that fails for a while is tried {urgent}.",
            f"- A message of low urgency is tried {patient}.",
        ]
    parallel = f"- At most {channel.concurrency} messages of a destination are under way at the same time."
    summary = "- Under a storm one summary replaces many messages." if channel.digest else "- It has no summaries."
    return "\n".join([*again, parallel, *_rates(channel), summary])


def _rates(channel: Channel[Any]) -> Sequence[str]:
    """What the sample message takes of the vendor's limits, with the settings of the first example."""
    settings = validate("destination", {"id": "on-call", **next(iter(channel.examples.values()))})
    rates = {
        (rate.per_second, rate.burst) for request in channel.render(SAMPLES[0], settings, "") for rate in request.rates
    }
    return [
        f"- At most {burst} at once and {round(60 * per_second)} a minute are sent, as the receiver allows."
        for per_second, burst in sorted(rates)
    ]


def _policy(policy: Retry) -> str:
    """The policy, after `is tried`."""
    until = f"for {_duration(policy.deadline_s)}"
    often = f" up to {policy.attempts} times," if policy.attempts < 1_000 else ""
    return f"again{often} {until}, with pauses that grow from {_duration(policy.base_s)} to {_duration(policy.most_s)}"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = round(seconds / size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{seconds:g} s"


def _own_errors(channel: Channel[Any]) -> str:
    return f"{_errors(channel.help)}\n\n" if channel.help else ""


def _errors(reasons: Mapping[str, Help]) -> str:
    rows = "\n".join(f"| `{name}` | {_escaped(told.means)} | {_escaped(told.do)} |" for name, told in reasons.items())
    return f"| Error | It means | What to do |\n|---|---|---|\n{rows}"


def _table(channels: Sequence[Channel[Any]]) -> str:
    rows = "\n".join(
        f"| [{channel.title}]({channel.slug}.md) | `{channel.slug}` | {'yes' if channel.digest else 'no'} "
        f"| {', '.join(f'`{name}`' for name in channel.required) or '-'} |"
        for channel in sorted(channels, key=lambda channel: channel.title.lower())
    )
    return f"""\
<!-- Written by `stormweir channels --docs docs/channels`: change streams/cli/_channel_pages.py instead. -->
# Channels

A destination is where notifications go, over one of these channels. Its page says what to click there, what to fill in
here and what each error means. `stormweir channels` lists them too. What a webhook's receiver gets is in
[webhooks](../webhooks.md). Coming from Alertmanager: [receivers become destinations](from-alertmanager.md).

| Channel | Type | Summaries | Environment variables |
|---|---|---|---|
{rows}

A summary replaces many messages when more waits than the channel can carry. The environment variables make a
destination without a file.

## Every destination

{_fields(Destination.model_fields)}

## What each error means

A failed attempt has one of these in `error` of [deliveries](../analysts.md#deliveries), or one of its channel's page.
An error that begins with `channel_error` names an exception. Another text is about the destination's settings.

{_errors(COMMON_HELP)}

A message that was not sent though nothing failed has the outcome `suppressed` and one of these:

{_errors(SKIP_HELP)}
"""


def _escaped(text: str) -> str:
    """The text without markup, apart from code between backticks, which stays."""
    parts = text.split("`")
    return "`".join(part if place % 2 else _MARKUP.sub(r"\\\1", part) for place, part in enumerate(parts))
