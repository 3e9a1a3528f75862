"""Secrets are sealed on the topic and plain in memory; what cannot be opened replaces nothing."""

import stat
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from cryptography.fernet import Fernet
from pydantic import BaseModel

from schemas.control import KINDS, AnyRecord, ApiKey, Integration, Service, control_key, dump, secrets_of
from schemas.settings import Settings, SettingsError
from sinks.channels import CHANNELS
from streams.control import document, rotation
from streams.control.audit import Actor
from streams.control.kinds import validate
from streams.control.secrets import KEY_FILE, PLAIN, SecretKeys, make_key_file, stored_secrets
from streams.control.state import Control
from streams.control.transaction import change
from streams.control.write import Change, values_of
from streams.process.errors import OperatorError
from tests.control.test_transaction import Snapshot, Topic

#: Fixed, since they are in names of tests, which must be the same in every process.
OLD, NEW, OTHER = (urlsafe_b64encode(bytes([number] * 32)).decode() for number in (1, 2, 3))
CANARY = "S3CRET-canary"
ADA = Actor("ada")
HOOK = validate(
    "destination",
    {
        "id": "hook",
        "url": f"https://hooks.example.com/{CANARY}?a={CANARY}",
        "secret": CANARY,
        "headers": {"Authorization": f"Bearer {CANARY}"},
    },
)
SENDER = Integration(id="5f" * 16, name="n", type="webhook", service="shop", signature_secret=CANARY)
UNSIGNED = Integration(id="6f" * 16, name="n", type="webhook", service="shop")
KEY = ApiKey(id="ci", sha256="0" * 64, webhook_secret=CANARY)
RECORDS: list[AnyRecord] = [Service(id="shop"), HOOK, SENDER, UNSIGNED, KEY]


def apply(control: Control, *records: AnyRecord, keys: SecretKeys) -> list[str | None]:
    """Apply the records as somebody with these keys writes them."""
    return [control.apply(key, value) for key, value in values_of(Change(records), keys).items()]


def test_a_sealed_record_shows_no_secret_and_is_read_as_it_was() -> None:
    """Every marked field is sealed, the rest is readable; equal records differ on the topic and are equal when read."""
    keys = SecretKeys([NEW])
    written, again = (values_of(Change(RECORDS), keys) for _ in range(2))
    assert CANARY.encode() not in b"".join(value or b"" for value in written.values())
    fields = orjson.loads(written["destination/default/hook"] or b"")
    assert {name for name, value in fields.items() if isinstance(value, dict)} == {"url", "secret", "headers"}
    assert Fernet(NEW).decrypt(fields["headers"]["sealed"]) == orjson.dumps({"Authorization": f"Bearer {CANARY}"})
    assert fields["headers"]["key_id"] == keys.ids[0]
    assert written != again
    control = Control(keys)
    assert {control.apply(key, value) for key, value in written.items()} == {None}
    assert list(control.records.values()) == RECORDS
    assert document.plan({control_key(record): record for record in RECORDS}, control.records) == ([], [], [])
    # A hash needs no seal, and an empty field has nothing to seal.
    assert orjson.loads(written["apikey/ci"] or b"")["sha256"] == KEY.sha256
    assert written[control_key(UNSIGNED)] == dump(UNSIGNED)


def test_what_was_written_before_there_were_keys_is_readable() -> None:
    """The upgrade path: plain fields are read with keys, beside sealed ones, and writing without keys is as it was."""
    assert values_of(Change([HOOK]), SecretKeys())["destination/default/hook"] == dump(HOOK)
    control = Control(SecretKeys([NEW]))
    assert apply(control, HOOK, keys=SecretKeys()) == [None]
    mixed = orjson.loads(dump(HOOK)) | {"secret": SecretKeys([NEW]).seal(HOOK)["secret"]}
    assert control.apply("destination/default/hook", orjson.dumps(mixed)) is None
    assert control.records["destination/default/hook"] == HOOK
    assert control.seals["destination/default/hook"] == {PLAIN, *control.keys.ids}


def test_every_key_opens_and_the_first_seals() -> None:
    """What the old key sealed is opened while it is listed, and what is written then has the new one."""
    both = SecretKeys([NEW, OLD])
    control = Control(both)
    assert apply(control, HOOK, keys=SecretKeys([OLD])) == [None]
    assert control.records["destination/default/hook"] == HOOK
    assert {value["key_id"] for value in both.seal(HOOK).values()} == set(SecretKeys([NEW]).ids)


def test_a_record_of_an_unknown_key_replaces_nothing() -> None:
    """The reason names fields and key and no content; the valid record stays, and the next readable one replaces it."""
    control, foreign = Control(SecretKeys([NEW])), SecretKeys([OTHER])
    apply(control, HOOK, keys=control.keys)
    changed = HOOK.model_copy(update={"name": "changed"})
    (reason,) = apply(control, changed, keys=foreign)
    assert reason == f"secret_key_unknown: url, secret, headers (sealed with the key {foreign.ids[0]})"
    assert control.records["destination/default/hook"] == HOOK
    assert control.unopened() == {"destination/default/hook": {foreign.ids[0]}}
    apply(control, changed, keys=control.keys)
    assert control.records["destination/default/hook"] == changed
    assert control.unopened() == {}
    apply(control, SENDER, keys=foreign)
    assert control.integrations == {}
    assert control.apply(control_key(SENDER), None) is None
    assert control.unopened() == {}


@pytest.mark.parametrize(
    "value",
    [
        {"sealed": "no token"},
        {"sealed": Fernet(NEW).encrypt(b"no JSON").decode()},
        {"sealed": Fernet(OTHER).encrypt(b'"of another key"').decode()},
        {"sealed": "é"},
        {"key_id": "x" * 12},
        {"key_id": ["a"]},
        {"sealed": 3},
        {"more": "fields"},
    ],
)
def test_a_damaged_seal_is_refused_without_its_content(value: dict[str, Any]) -> None:
    """It is a reason, never an exception, and the valid record stays."""
    control = Control(SecretKeys([NEW]))
    apply(control, SENDER, keys=control.keys)
    sealed = {**control.keys.seal(SENDER)["signature_secret"], **value}
    reason = control.apply(control_key(SENDER), orjson.dumps(SENDER.model_dump() | {"signature_secret": sealed}))
    assert reason is not None
    assert reason.startswith(("secret_damaged: signature_secret", "signature_secret: "))
    assert not any(str(part) in reason for part in value.values())
    assert control.integrations[SENDER.id] == SENDER


def test_a_damaged_seal_holds_up_no_rotation() -> None:
    """It is no record and no missing key: the others are rotated, and it is counted nowhere."""
    control, old = Control(SecretKeys([NEW, OLD])), SecretKeys([OLD])
    damaged = old.seal(SENDER)["signature_secret"] | {"sealed": "no token"}
    assert control.apply(control_key(SENDER), dump(SENDER, {"signature_secret": damaged})) is not None
    apply(control, HOOK, keys=old)
    assert control.unopened() == {}
    assert rotation.rotate(control) == ((1, 0, 0), ([HOOK], []))


def test_only_secrets_are_opened() -> None:
    """A token that somebody copied to a field that people see is not opened there."""
    control = Control(SecretKeys([NEW]))
    token = control.keys.seal(SENDER)["signature_secret"]
    reason = control.apply(control_key(SENDER), orjson.dumps(SENDER.model_dump() | {"name": token}))
    assert reason == "name: Input should be a valid string"


def test_headers_that_look_like_a_seal_stay_plain() -> None:
    """Names of headers cannot be those of a seal, so no plain value is taken for a sealed one."""
    record = HOOK.model_copy(update={"headers": {"sealed": "x", "key-id": "0" * 12}})
    control = Control(SecretKeys([NEW]))
    assert apply(control, record, keys=SecretKeys()) == [None]
    assert control.records["destination/default/hook"] == record


@pytest.mark.parametrize("model", [*KINDS.values(), *(channel.settings for channel in CHANNELS.values())])
def test_no_secret_hides_in_an_inner_model(model: Any) -> None:
    """Only the fields of the record itself are sealed, so a mark deeper inside would be without effect."""
    inner = {found for field in model.model_fields.values() for found in _models(field.annotation)}
    assert not [found for found in inner if secrets_of(found)]


def _models(annotation: Any, above: tuple[Any, ...] = ()) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `tuple[Inner, ...] | None`, and those in their fields."""
    for part in get_args(annotation):
        yield from _models(part, above)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in above:
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models(field.annotation, (*above, annotation))


def test_keys_come_from_one_setting(tmp_path: Path) -> None:
    """A list, a file with lines, or the embedded installation's own file; nothing shows a key."""
    file = tmp_path / "keys"
    file.write_text(f"{NEW}\n{OLD}\n")
    listed = SecretKeys.of(Settings(kafka="k:1", secret_keys=f"{NEW}, {OLD}"))
    assert listed.ids == SecretKeys.of(Settings(kafka="k:1", secret_keys_file=str(file))).ids
    assert len(set(listed.ids)) == 2
    assert not SecretKeys.of(Settings(kafka="k:1"))
    assert not SecretKeys.of(Settings(data_dir=tmp_path))
    embedded = Settings(data_dir=tmp_path)
    assert make_key_file(embedded) == tmp_path / KEY_FILE
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    made = SecretKeys.of(embedded)
    assert len(made.ids) == 1
    assert make_key_file(embedded) is None
    assert SecretKeys.of(embedded).ids == made.ids
    # Somebody else's Kafka has somebody else's keys.
    assert not SecretKeys.of(Settings(kafka="k:1", data_dir=tmp_path))
    assert make_key_file(Settings(data_dir=tmp_path / "other", secret_keys=NEW)) is None
    settings = Settings.from_env({"STORMWEIR_SECRET_KEYS": NEW})
    assert NEW not in f"{settings!r} {listed!r} {listed}"
    assert Settings.from_env(settings.environ()) == settings


@pytest.mark.parametrize(
    ("keys", "file", "reason"),
    [
        (f"{NEW},{CANARY}", "", "STORMWEIR_SECRET_KEYS: key 2 is not 32 bytes in URL-safe base64"),
        ("é" * 44, "", "STORMWEIR_SECRET_KEYS: key 1 "),
        (NEW[:-4], "", "STORMWEIR_SECRET_KEYS: key 1 "),
        (NEW, "some", "only one of them"),
        ("", "missing", "STORMWEIR_SECRET_KEYS_FILE=missing: there is no such file"),
        ("", "/", "STORMWEIR_SECRET_KEYS_FILE=/: cannot be read"),
        ("", "/dev/null", "STORMWEIR_SECRET_KEYS_FILE=/dev/null: there is no key in it"),
    ],
)
def test_unusable_keys_are_refused_without_being_shown(keys: str, file: str, reason: str) -> None:
    """The message names the setting and the place of the key."""
    with pytest.raises(SettingsError) as refused:
        SecretKeys.of(Settings(secret_keys=keys, secret_keys_file=file))
    assert reason in str(refused.value)
    assert CANARY not in str(refused.value)
    assert NEW not in str(refused.value)


def _rotated(topic: Topic, keys: SecretKeys, delete: list[str] | None = None) -> tuple[int, int, int]:
    reader = Snapshot(topic, keys)
    _done(reader.catch_up())
    return _done(change(reader, topic.only_writer, lambda control: rotation.rotate(control, delete or []), ADA))


def _done(coroutine: Any) -> Any:
    """Run it to its end, as nobody else works on the topic."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value


def _control(topic: Topic, keys: SecretKeys) -> Control:
    control = Control(keys)
    for key, value in topic.records:
        control.apply(key, value)
    return control


def test_a_rotation_seals_everything_with_the_first_key_once() -> None:
    """Plain and old records are written again, current ones and those without secrets are not; once is enough."""
    topic, both = Topic(), SecretKeys([NEW, OLD])
    for records, keys in (([HOOK], SecretKeys()), ([SENDER], SecretKeys([OLD])), ([KEY, UNSIGNED, RECORDS[0]], both)):
        topic.records += values_of(Change(records), keys).items()
    counts = {each.key: (each.state, each.records) for each in rotation.status(_control(topic, both))}
    assert counts == {both.ids[0]: ("first", 1), both.ids[1]: ("known", 1), PLAIN: (PLAIN, 1)}
    length = len(topic.records)
    assert _rotated(topic, both) == (2, 1, 0)
    assert [key for key, _ in topic.records[length:]] == ["destination/default/hook", control_key(SENDER)]
    assert _rotated(topic, both) == (0, 3, 0)
    assert len(topic.records) == length + 2
    topic.compact()
    # The old key and plain text are gone from the topic.
    only = _control(topic, SecretKeys([NEW]))
    assert [(each.state, each.records) for each in rotation.status(only)] == [("first", 3), (PLAIN, 0)]
    assert {key: only.records[key] for key in map(control_key, RECORDS)} == {
        control_key(each): each for each in RECORDS
    }
    assert CANARY.encode() not in b"".join(value or b"" for _, value in topic.records)


def test_who_lacks_a_key_changes_nothing() -> None:
    """Neither an apply nor a rotation writes with the wrong keys, or with none; the missing key is named."""
    topic, foreign = Topic(), SecretKeys([OTHER])
    topic.records += values_of(Change([HOOK, SENDER]), foreign).items()
    before = list(topic.records)
    for keys in (SecretKeys(), SecretKeys([NEW])):
        reader = Snapshot(topic, keys)
        _done(reader.catch_up())
        assert set(reader.control.unopened()) == {"destination/default/hook", control_key(SENDER)}
        with pytest.raises(OperatorError, match=foreign.ids[0]):
            _done(change(reader, topic.only_writer, lambda control: (None, Change([Service(id="new")])), ADA))
        with pytest.raises(OperatorError, match="key"):
            _rotated(topic, keys)
    assert topic.records == before
    assert [(each.state, each.records) for each in rotation.status(_control(topic, SecretKeys([NEW])))] == [
        ("first", 0),
        ("missing", 2),
        (PLAIN, 0),
    ]


def test_records_of_a_lost_key_can_be_deleted_as_they_were_agreed() -> None:
    """Only the named ones are deleted; while another cannot be opened nothing is written."""
    topic, keys = Topic(), SecretKeys([NEW])
    topic.records += values_of(Change([HOOK, SENDER]), SecretKeys([OTHER])).items()
    topic.records += values_of(Change([KEY]), SecretKeys()).items()
    with pytest.raises(OperatorError, match="1 records cannot be opened"):
        _rotated(topic, keys, ["destination/default/hook"])
    assert _rotated(topic, keys, ["destination/default/hook", control_key(SENDER), "apikey/ci"]) == (1, 0, 2)
    left = _control(topic, keys)
    assert left.records == {"apikey/ci": KEY}
    assert left.unopened() == {}


def test_stored_secrets_are_those_that_are_marked() -> None:
    """What counts as a secret of a record is what its model marks and the record has."""
    assert set(stored_secrets(type(HOOK), HOOK.model_dump(mode="json"))) == {"url", "secret", "headers"}
    assert stored_secrets(ApiKey, KEY.model_dump(mode="json")) == {"webhook_secret": CANARY}
    assert stored_secrets(Integration, UNSIGNED.model_dump(mode="json")) == {}
