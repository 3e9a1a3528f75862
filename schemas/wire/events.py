"""Alert events of producers inside the company, on `alerts.events`: Avro single-object encoding, or JSON.

Avro: two bytes C3 01, the schema's 8-byte little-endian CRC-64-AVRO fingerprint, the datum
(https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding). Anything else is read as JSON
with the same field names; there `details` is any JSON value and times are RFC 3339 or milliseconds.
"""

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import fastavro
import msgspec
from fastavro.schema import fingerprint, to_parsing_canonical_form

SCHEMA_FILE = Path(__file__).parents[1] / "avro" / "alert_event.avsc"
SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
_parsed = fastavro.parse_schema(SCHEMA)
# fastavro gives the fingerprint as it travels, its lowest byte first.
_MARKER = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))

#: Largest `details` and whole record, bytes.
MAX_EVENT = 1_048_576
Text = Annotated[str, msgspec.Meta(max_length=1024)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class BadEvent(ValueError):  # noqa: N818 - it is the event that is bad
    """A record that is not an alert event; the text names the field."""


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
    starts_at: int | str | None = None
    ends_at: int | str | None = None


_decode_json = msgspec.json.Decoder(AlertEvent).decode
_encode_json = msgspec.json.Encoder().encode
_check_json = msgspec.json.Decoder(Any).decode


def decode(value: bytes) -> AlertEvent:
    """The event in a record's value. Raises BadEvent, nothing else, whatever the bytes are."""
    if len(value) > MAX_EVENT:
        raise BadEvent(f"{len(value)} bytes, at most {MAX_EVENT} are accepted")
    try:
        event = _decode_avro(value) if value[:2] == b"\xc3\x01" else _decode_json(value)
        if event.details:
            _check_json(event.details)
        milliseconds(event.starts_at), milliseconds(event.ends_at)
        if event.action == "trigger" and not event.summary:
            raise BadEvent("summary: needed for a trigger")
    except BadEvent:
        raise
    except RecursionError:
        raise BadEvent("nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadEvent(str(error)[:500]) from None
    return event


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


def milliseconds(value: int | str | None) -> int:
    """A time as milliseconds, 0 for none. Raises ValueError for text that is no RFC 3339 time."""
    if value is None:
        return 0
    if isinstance(value, int):
        if not 0 <= value < 253_402_300_800_000:
            raise ValueError(f"{value} is no time in milliseconds")
        return value
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return int(at.timestamp() * 1000)


def _decode_avro(value: bytes) -> AlertEvent:
    if value[:10] != _MARKER:
        raise BadEvent(f"unknown Avro schema fingerprint {value[2:10].hex()}, known is {_MARKER[2:].hex()}")
    data = io.BytesIO(value)
    data.seek(10)
    try:
        fields = fastavro.schemaless_reader(data, _parsed, None)
    except Exception as error:
        # fastavro raises whatever the bytes lead it to: EOFError, IndexError, UnicodeDecodeError, ...
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
