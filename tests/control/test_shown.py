"""No secret is shown: not in a repr, a difference, an error, or a reason; every kind and every channel is asked."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.control import KINDS, AnyRecord, Destination, Integration, control_key, describe, dump, secrets_of
from sinks.channels import CHANNELS
from streams.control import document, edits
from streams.control.kinds import validate
from streams.control.secrets import SecretKeys, new_key
from streams.control.shown import masked_values
from streams.control.state import Control

CANARY = "S3CRET-canary"
PERIOD = {
    "starts_at": "2026-12-01T22:00:00+01:00",
    "ends_at": "2026-12-02T02:00:00+01:00",
    "author": "ada",
    "reason": "new switch",
}
#: One record of each kind that is no destination.
KNOWN: dict[str, dict[str, Any]] = {
    "tenant": {"id": "acme"},
    "service": {"id": "shop"},
    "integration": {"id": "5f" * 16, "name": "n", "type": "webhook", "service": "shop"},
    "lookup": {"id": "hosts", "key": "labels.host", "rows": {"h1": {"rack": "r7"}}},
    "rule": {"id": "r", "match": ['severity="critical"'], "route": ["hook"]},
    "route": {"id": "main", "destinations": ["hook"], "routes": [{"match": ['service="shop"'], "continue": True}]},
    "calendar": {"id": "office", "zone": "UTC", "hours": {"mon": ["09:00-17:00"]}},
    "silence": {"id": "s", "match": ['service="shop"'], **PERIOD},
    "maintenance": {"id": "m", "services": ["shop"], **PERIOD},
    "inhibition": {"id": "i", "source": ['severity="critical"'], "target": ['severity="info"'], "equal": ["service"]},
    "user": {"id": "ada", "destinations": [{"destination": "hook"}]},
    "schedule": {"id": "primary", "zone": "UTC", "layers": [{"users": ["ada"], "start": "2026-11-02"}]},
    "override": {"id": "o", "schedule": "primary", "user": "ada"}
    | {"starts_at": "2026-12-24T08:00:00+01:00", "ends_at": "2026-12-24T20:00:00+01:00"},
    "escalation": {"id": "page", "steps": [{"users": ["ada"]}]},
    "heartbeat": {"id": "cron", "service": "shop", "every": 60, "key": "7d" * 16},
    "apikey": {"id": "ci", "sha256": "0123456789abcdef" * 4},
    "account": {
        "id": "a1",
        "login": "ada",
        "password": "$argon2id$v=19$m=65536,t=3,p=4$0123456789abcdef$0123456789abcdef",
        "created_at": "2026-11-01T00:00:00Z",
        "invitation": "fedcba9876543210" * 4,
        "invited_until": "2026-11-02T00:00:00Z",
    },
    "token": {
        "id": "t1",
        "name": "ci",
        "sha256": "0123456789abcdef" * 4,
        "created_by": "a1",
        "created_at": "2026-11-01T00:00:00Z",
    },
}
#: What a secret may look like; the first that its field accepts is taken.
CANDIDATES: tuple[Any, ...] = (
    CANARY,
    f"https://user:{CANARY}@hooks.example.com/{CANARY}?token={CANARY}#{CANARY}",
    {"Authorization": f"Bearer {CANARY}"},
)


def _samples() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, fields in KNOWN.items():
        yield kind, _with_canaries(kind, fields)
    for channel in CHANNELS.values():
        for fields in channel.examples.values():
            yield "destination", _with_canaries("destination", {"id": "hook", **fields})


def _with_canaries(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with a canary in each secret that takes one; else the example's own value stays."""
    for name in secrets_of(type(validate(kind, fields))):
        for value in CANDIDATES:
            try:
                validate(kind, fields | {name: value})
            except ValidationError:
                continue
            fields = fields | {name: value}
            break
    return fields


def _canaries(record: AnyRecord) -> set[str]:
    """The texts that nobody may see: the leaves of the secrets, of a URL what is not its host."""
    found: set[str] = set()
    values = record.model_dump(mode="json")
    for name, mark in secrets_of(type(record)).items():
        value = values[name]
        leaves = value.values() if isinstance(value, dict) else [value] if value else []
        found |= {str(leaf).split("/", 3)[3] if mark.url else str(leaf) for leaf in leaves}
    return {CANARY, *found, *({record.id} if isinstance(record, Integration) else ())} - {""}


SAMPLES = list(_samples())


def _hidden(text: str, canaries: set[str]) -> None:
    assert not [canary for canary in canaries if canary in text], text


def test_the_samples_are_all_there_is() -> None:
    """Every kind and every channel has a sample, and every secret of it a value."""
    assert {kind for kind, _ in SAMPLES} == set(KINDS)
    made = [validate(kind, fields) for kind, fields in SAMPLES]
    assert {record.type for record in made if isinstance(record, Destination)} == set(CHANNELS)
    for model in {type(record) for record in made}:
        held = {name for each in made if type(each) is model for name, value in each if value}
        assert set(secrets_of(model)) <= held, model


@pytest.mark.parametrize(("kind", "fields"), SAMPLES)
def test_no_secret_is_in_what_people_see_of_a_record(kind: str, fields: dict[str, Any]) -> None:
    """Reprs, masked values, differences from nothing, from another one and to none; nor in the sealed bytes."""
    record, plain = validate(kind, fields), validate(kind, KNOWN.get(kind, fields))
    canaries = _canaries(record)
    shown = masked_values(record)
    assert list(shown) == [field.alias or name for name, field in type(record).model_fields.items()]
    key = control_key(record)
    other = record.model_copy(update={name: getattr(plain, name) for name in secrets_of(type(record))})
    for text in (
        repr(record),
        str(record),
        json.dumps(shown),
        *document.plan({key: record}, {}).lines,
        *document.plan({key: record}, {key: other}).lines,
        *document.plan({key: other}, {key: record}).lines,
        *document.plan({}, {key: record}, document.SECTIONS).lines,
    ):
        _hidden(text, canaries)
    hashes = {getattr(record, name) for name, mark in secrets_of(type(record)).items() if mark.hashed}
    sealed = dump(record, SecretKeys([new_key()]).seal(record)).decode()
    _hidden(sealed, canaries - hashes - {str(record.id)})


def test_a_change_of_a_secret_is_a_change_though_it_looks_the_same() -> None:
    """Two secrets are compared by their values, and shown masked."""
    fields = KNOWN["integration"]
    old, new = (
        validate("integration", fields | {"signature_secret": secret}) for secret in ("first-one", "second-one")
    )
    key = control_key(old)
    assert document.plan({key: new}, {key: old}).lines[1:] == ['    signature_secret: "***" -> "***"']
    assert document.plan({key: old}, {key: old}).lines == []


def test_of_a_url_the_host_is_shown_and_nothing_else() -> None:
    """Neither user, port, path, query nor fragment: each may be the credential."""
    record = validate("destination", {"id": "hook", "url": f"https://u:{CANARY}@example.com:8443/{CANARY}?a=1#b"})
    assert masked_values(record)["url"] == "https://example.com/***"


WRONG: tuple[Any, ...] = (
    [CANARY],
    {CANARY: CANARY},
    {"Authorization": [CANARY]},
    {CANARY + "\r\nX": ""},
    {"X-A": CANARY + "\r\nX-B: 1"},
    CANARY + "\x00\r\n" + "x" * 5_000,
    "whsec_" + CANARY,
    f"ftp://{CANARY}",
    f"https://[{CANARY}/",
    f"https://exa mple/{CANARY}",
    f"https://example.com:{CANARY}/",
    7_461_923,
    True,
)


@pytest.mark.parametrize(("kind", "fields"), SAMPLES)
def test_no_error_repeats_a_secret(kind: str, fields: dict[str, Any]) -> None:
    """Wrong values of secrets, and right ones beside a wrong field, in files, on the topic and in commands."""
    model = type(validate(kind, fields))
    broken = [fields | {name: value} for name in secrets_of(model) for value in WRONG]
    broken += [{name: value for name, value in fields.items() if name != "id"}, fields | {"tenant": "a b", "id": "\n"}]
    for wrong in broken:
        try:
            validate(kind, wrong)
        except ValidationError as error:
            texts = [str(error), repr(error), describe(error)]
        else:
            continue
        with pytest.raises(document.ConfigurationError) as refused:
            document.records_of({f"{kind}s": [wrong]})
        reason = Control().apply(f"{kind}/x", orjson.dumps(wrong))
        for text in (*texts, str(refused.value), str(reason)):
            _hidden(text, {CANARY, "7461923"})


def test_no_command_repeats_a_secret_that_it_refuses() -> None:
    """`integrations create --secret` with a secret that is too short names the field only."""
    control = Control()
    control.apply("service/default/shop", dump(validate("service", KNOWN["service"])))
    with pytest.raises(edits.FieldError) as refused:
        edits.new_integration(control, {"name": "n", "type": "webhook", "service": "shop", "signature_secret": "Xq9!"})
    assert refused.value.field == "signature_secret"
    assert "Xq9!" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        f"*{CANARY}",
        f"!{CANARY} x",
        f"!x!{CANARY} 1",
        f"!<{CANARY} x",
        f"&{CANARY}' x",
        f"!!int {CANARY}",
        f"!!float {CANARY}",
        f"!!timestamp {CANARY}",
        f"!!bool {CANARY}",
        f"%{CANARY}",
        f"@{CANARY}",
        f"'{CANARY}",
        f'"\\{CANARY}"',
        f"{CANARY}: x: y",
        f"[{CANARY}",
        f"{{{CANARY}: 1}}: 2",
        f"!!python/object:{CANARY} x",
        "2024-13-45",
    ],
)
def test_a_secret_that_is_no_yaml_is_not_repeated(text: str) -> None:
    """A password without quotes may be an alias, a tag or a wrong number; the message says where, not what."""
    with pytest.raises(document.ConfigurationError) as refused:
        document.load(f"destinations: [{{id: hook, secret: {text}}}]")
    assert CANARY not in str(refused.value)
    assert "2024" not in str(refused.value)
