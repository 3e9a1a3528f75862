"""Bytes and values on our own topics: MessagePack arrays in field order (docs/adr/0004)."""

import msgspec

from schemas.alert import Alert, RawEvent, UniqueAlert
from schemas.change import ChangeEvent
from schemas.incident import Incident, IncidentEvent
from schemas.notification import Delivery, Notification
from schemas.rejection import Rejection
from schemas.rows import HistoryBlock
from schemas.verdict import ReplyTo, Verdict

#: Raised by every decoder below for bytes that are not such a value.
DecodeError = msgspec.DecodeError

encode = msgspec.msgpack.Encoder().encode
decode_raw = msgspec.msgpack.Decoder(RawEvent).decode
decode_alert = msgspec.msgpack.Decoder(Alert).decode
decode_unique = msgspec.msgpack.Decoder(UniqueAlert).decode
decode_block = msgspec.msgpack.Decoder(HistoryBlock).decode
decode_incident = msgspec.msgpack.Decoder(Incident).decode
decode_incident_event = msgspec.msgpack.Decoder(IncidentEvent).decode
decode_notification = msgspec.msgpack.Decoder(Notification).decode
decode_delivery = msgspec.msgpack.Decoder(Delivery).decode
decode_change = msgspec.msgpack.Decoder(ChangeEvent).decode
decode_rejection = msgspec.msgpack.Decoder(Rejection).decode
decode_reply_to = msgspec.msgpack.Decoder(ReplyTo).decode
decode_verdict = msgspec.msgpack.Decoder(Verdict).decode
