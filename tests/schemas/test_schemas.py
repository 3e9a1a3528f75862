"""Identity, settings, control records and producers' events."""

import contextlib
import uuid

import msgspec
import pytest
from fastavro.schema import load_schema
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import Integration, control_key, dump
from schemas.fingerprint import derived_uuid, digest, fingerprint, partition_for, uuid7, uuid_text
from schemas.settings import Settings, SettingsError
from schemas.wire.events import SCHEMA_FILE, AlertEvent, BadEvent, decode, encode_avro, encode_json
from streams.control.state import Control

KEY = "0123456789abcdef0123456789abcdef"


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_distinct_parts_never_share_a_digest_input(one: list[str], two: list[str]) -> None:
    """Parts are length-prefixed: only equal lists are equal."""
    assert (digest(*one) == digest(*two)) == (one == two)


def test_identity_is_fixed_by_vectors() -> None:
    """A change of hash or partitioner would lose the state of every deployment."""
    assert fingerprint("default", "web", "host/cpu").hex() == "b2cd3c6e5765bb225d9a6ace9e6862b9"
    assert [partition_for(b"key-%d" % number, 12) for number in range(6)] == [4, 9, 4, 2, 11, 8]


def test_ids_are_valid_version_7() -> None:
    """The gateway's ids and those derived from them are RFC 9562 UUIDv7 of the same millisecond."""
    base = uuid7(1_750_000_000_123)
    for index in (0, 1, 63):
        value = uuid.UUID(bytes=derived_uuid(base, index))
        assert (value.version, value.variant) == (7, uuid.RFC_4122)
        assert value.bytes[:6] == (1_750_000_000_123).to_bytes(6, "big")
    assert len({derived_uuid(base, index) for index in range(1000)}) == 1000
    assert uuid_text(base) == str(uuid.UUID(bytes=base))


def test_settings_travel_through_the_environment() -> None:
    """A child process reads exactly its parent's settings."""
    settings = Settings.from_env({"STORMWEIR_PORT_BASE": "9000", "STORMWEIR_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128"})
    assert Settings.from_env(settings.environ()) == settings
    assert settings.port("admin.writer") == 9012


@pytest.mark.parametrize(
    "environ",
    [{"STORMWEIR_PORT_BASE": "80"}, {"STORMWEIR_STORE": "disk"}, {"STORMWEIR_TYPO": "1"},
     {"STORMWEIR_ALLOWED_NETWORKS": "here"}],
)  # fmt: skip
def test_a_bad_setting_names_its_variable(environ: dict[str, str]) -> None:
    """The message names the variable."""
    with pytest.raises(SettingsError, match=next(iter(environ))):
        Settings.from_env(environ)


def test_an_invalid_control_record_replaces_nothing() -> None:
    """The valid one stays, the reason names the field and no value."""
    control = Control()
    good = Integration(id=KEY, name="a", type="webhook", service="web", signature_secret="hush-hush")
    assert control.apply(control_key(good), dump(good)) is None
    refused = control.apply(control_key(good), b'{"id": "' + KEY.encode() + b'", "name": "a", "signature_secret": "x"}')
    assert refused is not None
    assert "service" in refused
    assert "hush" not in refused
    assert control.integrations[KEY] == good
    assert "hush" not in repr(good)
    assert control.apply(control_key(good), None) is None
    assert not control.integrations


def test_an_event_reads_the_same_from_avro_and_json() -> None:
    """Both encodings carry every field."""
    event = AlertEvent(
        service="web", dedup_key="host/cpu", summary="hot ✓", class_="cpu", labels={"a": "b"},
        details=msgspec.Raw(b'{"load": [1, 2]}'), starts_at=1_750_000_000_000, action="resolve", severity="info",
    )  # fmt: skip
    assert decode(encode_avro(event)) == decode(encode_json(event)) == event
    load_schema(str(SCHEMA_FILE))


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"null", b"\xc3\x01", b"\xc3\x01" + bytes(8), b"[" * 100_000, b'{"service":"a","dedup_key":"k"}',
     b'{"service":"a","dedup_key":"k","summary":"s","severity":"fatal"}', b'{"service":1}', b"\xff" * 40,
     b'{"service":"a","dedup_key":"k","summary":"s","starts_at":"yesterday"}',
     b'{"service":"a","dedup_key":"k","summary":"s","starts_at":1e400}',
     b'{"service":"a","dedup_key":"k","summary":"s","details":' + b"[" * 100_000,
     b'{"service":"a","dedup_key":"k","summary":"\\ud800"', bytes(2_000_000)],
)  # fmt: skip
def test_a_bad_event_says_why(value: bytes) -> None:
    """Whatever a producer sends, the answer is BadEvent with words."""
    with pytest.raises(BadEvent, match=r"\S"):
        decode(value)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_mutated_avro_never_raises_anything_else(noise: bytes, cut: int) -> None:
    """A datum cut and continued with noise decodes or is refused."""
    value = encode_avro(AlertEvent(service="web", dedup_key="k", summary="s"))[:cut] + noise
    with contextlib.suppress(BadEvent):
        decode(value)
