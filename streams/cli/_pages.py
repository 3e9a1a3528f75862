"""The page of each provider and the table of all, in Markdown, made only from the providers' declarations."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from schemas.control import FieldMapping
from schemas.wire.alert import Action
from streams.control import catalogue
from streams.providers import PATH, QUERY, Context, Example, NoAlert, Provider

#: The gateway's address in the published pages.
BASE_URL = "https://alerts.example.com"
_EVENT_ID = bytes(range(16))
_JSON_PART = re.compile(r'(\{".*\})', re.DOTALL)
_MARKUP = re.compile(r"([\\`*<>$|])")
_STORED = """
202 says that it is stored.
"""
_ORDERED = """
202 says that it is stored. It has the time at which it was sent in it: sent again after a resolve with a later time, it
is older than that, and opens nothing.
"""
#: Which integrations share an alert, by Provider.key_scope.
_SCOPES = {"global": "for all integrations of a service", "installation": "for each integration"}
#: The entries of `Example.headers` that are not headers, and how their lines are labelled.
_PARTS = {QUERY: "query", PATH: "path"}


def pages(providers: Iterable[Provider[Any]]) -> dict[str, str]:
    """Every page by its file name, and `README.md`, the table of them."""
    listed = list(providers)
    texts = {f"{provider.slug}.md": page(provider, BASE_URL) for provider in listed}
    return texts | {"README.md": _table(listed)}


def page(provider: Provider[Any], base_url: str) -> str:
    """Everything about one provider: how to connect it, how its fields map to ours, and examples with their results."""
    entry = catalogue.entry(provider, base_url)
    quoted = f'"{provider.title}"'
    create = f"stormweir integrations create --type {provider.slug} --service <service> --name {quoted}"
    host = urlsplit(provider.docs_url).hostname
    about = f"\nWhat it sends is documented at [{host}]({provider.docs_url}).\n" if provider.docs_url else ""
    rows = [("URL", f"`{entry['webhook_url']}`"), ("Methods", ", ".join(provider.methods))]
    rows += [("or", f"`{address.replace(' with ', '` with `')}`") for address in entry["addresses"]]
    rows += [
        ("Signature", _escaped(catalogue.signature_text(provider.signature))),
        ("Rate limit", f"`{provider.rate_limit}` where the integration sets none"),
        ("Sends again", _escaped(catalogue.sends_again(provider))),
        ("One alert", f"{_SCOPES[provider.key_scope]}: {_escaped(provider.key_reason)}"),
        ("With an API key", f"`{entry['tenant_webhook_url']}` with {_api_key_headers(provider)}"),
    ]
    steps = "\n".join(f"{number}. {_step(step)}" for number, step in enumerate(provider.setup, 1))
    fields = "\n".join(f"| `{ours}` | {theirs} |" for ours, theirs in provider.fields)
    return f"""\
<!-- Written by `stormweir catalog --docs docs/providers`: change streams/providers/{provider.slug}.py instead. -->
# {provider.title}
{about}
## Connect it

```
{create}
```

The command prints the URL with its key. In the tool:

{steps}

| | |
|---|---|
{chr(10).join(f"| {name} | {value} |" for name, value in rows)}

## Try it

```
{entry["test_request"]}
```
{_stored(provider) if entry["test_request"].startswith("curl") else ""}
## What becomes what

The first that is there counts. What is not named here is kept in the alert's details.{_order(provider)}

| Alert | {provider.title} |
|---|---|
{fields}

Severity: {_escaped(provider.severity_note)}

## Examples
{"".join(_example(provider, example) for example in _shown(provider))}
## When nothing arrives

Ask `stormweir integrations show <key>` for the URL, send the request above, and read its answer:
[my alerts do not arrive](../not-arriving.md), [every error](../errors.md).
"""


def _order(provider: Provider[Any]) -> str:
    """A sentence on the times that only order events and are not shown to people, if the provider has one of them."""
    named = [f"`{ours}`" for ours, _ in provider.fields if ours in {"sent_at", "began_at"}]
    return f"\nEvents of one alert are put in order by {' and '.join(named)}, the tool's own clock." if named else ""


def _stored(provider: Provider[Any]) -> str:
    """The text on the answer to the test request, which is the provider's first example."""
    return _ORDERED if any("sent_at" in outcome for outcome in _outcome(provider, provider.examples[0])) else _STORED


def _api_key_headers(provider: Provider[Any]) -> str:
    signed = " and `X-Webhook-Signature`" if provider.can_sign else "; it cannot sign, so no signature is asked for"
    return f"`X-API-Key`{signed}"


def _table(providers: Iterable[Provider[Any]]) -> str:
    listed = sorted(providers, key=lambda provider: provider.title.lower())
    general = _escaped(catalogue.signature_text(None))
    rows = "\n".join(
        f"| [{provider.title}]({provider.slug}.md) | `{provider.slug}` | {', '.join(provider.methods)} "
        f"| {'in general' if provider.signature is None else _escaped(catalogue.signature_text(provider.signature))} |"
        for provider in listed
    )
    keys = "\n".join(
        f"| [{provider.title}]({provider.slug}.md) | {_SCOPES[provider.key_scope]} | {_escaped(provider.key_reason)} "
        f"| {' and '.join(map(str, provider.retries)) or 'never'} | `{provider.rate_limit}` |"
        for provider in listed
    )
    return f"""\
<!-- Written by `stormweir catalog --docs docs/providers`: change streams/cli/_pages.py instead. -->
# What can send alerts

Every tool here sends to `{BASE_URL}/api/integrations/<type>?integrationId=<key>`; its page says what to
click, what becomes what, and has a request to try. `stormweir catalog` lists them too, `GET /integrations/catalog`
and `stormweir catalog --json` for machines. A tool that is missing sends to the [generic webhook](webhook.md), or, if
it knows PagerDuty, Opsgenie or CloudEvents, in their formats.

A signature is asked for when the integration has a secret. In general it goes into
{general}.

| Tool | Type | Methods | Signature |
|---|---|---|---|
{rows}

## Keys and limits

An alert is known by its dedup key. Two integrations of one service that send the same key mean one alert where the key
is the same thing everywhere, and two alerts where the tool's ids count inside one installation only.

A tool that does not send again what was answered 429 would lose alerts by a rate limit, so its integrations have none
unless they set one; 503 means that Kafka was away.

| Tool | One alert | Because | Sends again after | Default rate limit |
|---|---|---|---|---|
{keys}
"""


def _shown(provider: Provider[Any]) -> list[Example]:
    """The first example, and the first example that ends something, if that is another."""
    ends = (each for each in provider.examples if any(action is Action.RESOLVE for action, _ in each.alerts))
    end = next(ends, None)
    return [provider.examples[0]] + ([end] if end not in (None, provider.examples[0]) else [])


def _example(provider: Provider[Any], example: Example) -> str:
    headers = "".join(f"{_PARTS.get(name, name)}: {value}\n" for name, value in example.headers.items())
    return f"""
This request

```
{headers}{_body(example.body)}
```

becomes

```json
{_json(_outcome(provider, example))}
```
"""


def _body(body: bytes) -> str:
    """The body for people: JSON indented, anything else as it is."""
    try:
        return _json(orjson.loads(body))
    except orjson.JSONDecodeError:
        return body.decode().replace("\r\n", "\n").rstrip("\n")


def _outcome(provider: Provider[Any], example: Example) -> list[dict[str, Any]]:
    """The result of an example: alerts, or a change. Raises BadBody if the provider does not take it."""
    context = Context(_EVENT_ID, example.headers, FieldMapping())
    try:
        drafts = provider.parse(provider.decode(example.body, context), context)
    except NoAlert as silence:
        return [_plain(silence.change)] if silence.change is not None else []
    return [_plain(draft) for draft in drafts]


def _plain(outcome: Any) -> dict[str, Any]:
    """The fields that have a value, formatted for people, without the details (the body or a part of it)."""
    fields = {}
    for name in outcome.__struct_fields__:
        value = getattr(outcome, name)
        if name == "details" or not value:
            continue
        if name in {"starts_at", "ends_at", "sent_at", "began_at", "at"}:
            value = datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        elif name in {"action", "severity"}:
            value = value.name.lower()
        fields[name.rstrip("_")] = value
    return fields


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _step(text: str) -> str:
    """A step with its JSON templates as code, so that nothing in them is read as markup."""
    parts = _JSON_PART.split(text)
    return "".join(f"`{part}`" if place % 2 else _escaped(part) for place, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)
