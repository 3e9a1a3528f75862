"""Alert events of producers inside the company, on `alerts.events`: Avro single-object encoding, or JSON.

Avro: two bytes C3 01, the schema's 8-byte little-endian CRC-64-AVRO fingerprint, the datum
(https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding). All other values are read as JSON
with the same field names; in JSON `details` is any JSON value, and times are RFC 3339 or Unix times.
"""

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import fastavro
import msgspec
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.text import repaired

SCHEMA_FILE = Path(__file__).parents[1] / "avro" / "alert_event.avsc"
SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
_parsed = fastavro.parse_schema(SCHEMA)
# fastavro gives the fingerprint in the byte order of the encoding, lowest byte first.
_MARKER = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))

#: The largest record, `details` included, bytes.
MAX_EVENT = 1_048_576
Text = Annotated[str, msgspec.Meta(max_length=1024)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


#: Unix times below this number are seconds (up to the year 5138), others are milliseconds (from 1973 on).
_FIRST_MS = 100_000_000_000
#: The first millisecond of the year 10000.
_END_MS = 253_402_300_800_000
#: Confluent's wire format begins with a zero byte and a schema's id in four bytes
#: (https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format).
_CONFLUENT_HEAD = 5


class BadEvent(ValueError):  # noqa: N818 - it is the event that is bad
    """A record that is not a valid alert event; the text names the field. `code` is the reason of its dead letter."""

    def __init__(self, text: str, code: str = "bad_event") -> None:
        super().__init__(text)
        self.code = code


class AlertEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """One event. `details` is JSON text; times are milliseconds since 1970 UTC, 0 means not given."""

    service: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    dedup_key: Key
    action: Literal["trigger", "acknowledge", "resolve"] = "trigger"
    severity: Literal["critical", "error", "warning", "info"] = "error"
    summary: Text = ""
    source: Text = ""
    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "default"
    component: Text = ""
    group: Text = ""
    class_: Text = msgspec.field(default="", name="class")
    labels: dict[str, str] = {}
    details: msgspec.Raw = msgspec.Raw(b"")
    starts_at: int | float | str | None = None
    ends_at: int | float | str | None = None


class _ConnectEnvelope(msgspec.Struct):
    """What Kafka Connect's JsonConverter writes with `schemas.enable`."""

    schema: Any
    payload: Any


_decode_json = msgspec.json.Decoder(AlertEvent).decode
_decode_envelope = msgspec.json.Decoder(_ConnectEnvelope).decode
_encode_json = msgspec.json.Encoder().encode
_check_json = msgspec.json.Decoder(Any).decode


def decode(value: bytes) -> AlertEvent:
    """The event in a record's value. For any bytes, BadEvent is the only exception that it raises."""
    if len(value) > MAX_EVENT:
        raise BadEvent(f"{len(value)} bytes, at most {MAX_EVENT} are accepted")
    if not value:
        raise BadEvent("the value is empty", "empty")
    if value[0] == 0 and len(value) > _CONFLUENT_HEAD and value[1:2] != b"{":  # a zero byte and `{` are JSON in UTF-16
        payload = "JSON" if value[_CONFLUENT_HEAD : _CONFLUENT_HEAD + 1] == b"{" else "Avro or Protobuf"
        schema = int.from_bytes(value[1:_CONFLUENT_HEAD], "big")
        raise BadEvent(
            f"is in Confluent's wire format (a zero byte, the schema id {schema}, {payload}): "
            "send JSON without a schema registry, or Avro in single-object encoding",
            "confluent_wire_format",
        )
    try:
        event = _decode_avro(value) if value[:2] == b"\xc3\x01" else _read_json(value)
        if event.details:
            event = _with_usable_details(event)
        for name in ("starts_at", "ends_at"):
            _check_time(name, getattr(event, name))
        if event.action == "trigger" and not event.summary:
            raise BadEvent("summary: needed for a trigger")
    except BadEvent:
        raise
    except RecursionError:
        raise BadEvent("nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadEvent(str(error)[:500]) from None
    return event


def _read_json(value: bytes) -> AlertEvent:
    """The event in JSON; text that is not valid JSON is repaired first."""
    try:
        return _decode_json(value)
    except msgspec.ValidationError:
        _refuse_envelope(value)
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = repaired(value)
        try:
            return _decode_json(text)
        except msgspec.ValidationError:
            _refuse_envelope(text)
            raise


def _with_usable_details(event: AlertEvent) -> AlertEvent:
    """The event with `details` that are valid JSON, repaired if necessary."""
    try:
        _check_json(event.details)
    except (msgspec.DecodeError, UnicodeDecodeError):
        details = repaired(bytes(event.details))
        _check_json(details)
        return msgspec.structs.replace(event, details=msgspec.Raw(details))
    return event


def _refuse_envelope(value: bytes) -> None:
    """Raise BadEvent for an event in the envelope of Kafka Connect."""
    try:
        _decode_envelope(value)
    except msgspec.MsgspecError:
        return
    raise BadEvent(
        "is in the envelope (schema and payload) of Kafka Connect's JsonConverter: "
        "set value.converter.schemas.enable=false",
        "connect_envelope",
    )


def _check_time(name: str, value: float | str | None) -> None:
    try:
        milliseconds(value)
    except ValueError as error:
        raise BadEvent(f"{name}: {error}") from None


def encode_json(event: AlertEvent) -> bytes:
    """The event as JSON; empty details and times are left out."""
    fields = {name: value for name, value in msgspec.structs.asdict(event).items() if value not in (None, b"", {})}
    if "class_" in fields:
        fields["class"] = fields.pop("class_")
    if event.details:
        fields["details"] = event.details
    else:
        fields.pop("details", None)
    return _encode_json(fields)


def encode_avro(event: AlertEvent) -> bytes:
    """The event in Avro single-object encoding."""
    fields = msgspec.structs.asdict(event)
    fields["class"] = fields.pop("class_")
    fields["details"] = bytes(event.details).decode() if event.details else None
    fields["starts_at"] = milliseconds(event.starts_at) or None
    fields["ends_at"] = milliseconds(event.ends_at) or None
    out = io.BytesIO()
    out.write(_MARKER)
    fastavro.schemaless_writer(out, _parsed, fields)
    return out.getvalue()


def milliseconds(value: float | str | None) -> int:
    """A time as milliseconds UTC, 0 for none. Raises ValueError for a value that is not a time.

    A text is RFC 3339 with an offset. A number is Unix time: seconds below 100,000,000,000, else milliseconds.
    A time before 1970 gives 0: programs write it for "no time" (Go's zero time is 0001-01-01T00:00:00Z).

    >>> milliseconds(1793966880), milliseconds(1793966880000), milliseconds("0001-01-01T00:00:00Z")
    (1793966880000, 1793966880000, 0)
    """
    if value is None:
        return 0
    if isinstance(value, str):
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return max(int(at.timestamp() * 1000), 0) if at.year > 1 else 0
    if not value < _END_MS:
        raise ValueError(f"{value} is no Unix time in seconds or milliseconds")
    return max(int(value if value >= _FIRST_MS else value * 1000), 0)


def _decode_avro(value: bytes) -> AlertEvent:
    if value[:10] != _MARKER:
        raise BadEvent(f"unknown Avro schema fingerprint {value[2:10].hex()}, known is {_MARKER[2:].hex()}")
    data = io.BytesIO(value)
    data.seek(10)
    try:
        fields = fastavro.schemaless_reader(data, _parsed, None)
    except Exception as error:
        # fastavro raises errors of many types for wrong bytes: EOFError, IndexError, UnicodeDecodeError, ...
        raise BadEvent(f"not an AlertEvent: {type(error).__name__}") from None
    if data.read(1):
        raise BadEvent("bytes follow the Avro datum")
    assert isinstance(fields, dict)
    for name in ("starts_at", "ends_at"):
        at = fields[name]
        fields[name] = int(at.timestamp() * 1000) if isinstance(at, datetime) else None
    details = fields["details"]
    fields["details"] = msgspec.Raw(details.encode()) if details else msgspec.Raw(b"")
    return msgspec.convert(fields, AlertEvent)
