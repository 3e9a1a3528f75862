"""The encoding of values on Stormweir's own topics: MessagePack arrays in field order (docs/adr/0004)."""

import msgspec

from schemas.wire.alert import Alert, RawEvent, UniqueAlert
from schemas.wire.audit import AuditRecord
from schemas.wire.beat import BeatEvent
from schemas.wire.change import ChangeEvent
from schemas.wire.command import Command
from schemas.wire.incident import Incident, IncidentChange, IncidentEvent
from schemas.wire.notification import Delivery, Notification
from schemas.wire.rejection import RejectedBody, Rejection
from schemas.wire.rows import HistoryBlock
from schemas.wire.verdict import ReplyTo, Verdict

#: Every decoder below raises it for bytes that are not a value of its type.
DecodeError = msgspec.DecodeError

encode = msgspec.msgpack.Encoder().encode
decode_raw = msgspec.msgpack.Decoder(RawEvent).decode
decode_alert = msgspec.msgpack.Decoder(Alert).decode
decode_unique = msgspec.msgpack.Decoder(UniqueAlert).decode
decode_beat = msgspec.msgpack.Decoder(BeatEvent).decode
decode_block = msgspec.msgpack.Decoder(HistoryBlock).decode
decode_incident = msgspec.msgpack.Decoder(Incident).decode
decode_incident_event = msgspec.msgpack.Decoder(IncidentEvent).decode
decode_incident_change = msgspec.msgpack.Decoder(IncidentChange).decode
decode_notification = msgspec.msgpack.Decoder(Notification).decode
decode_delivery = msgspec.msgpack.Decoder(Delivery).decode
decode_change = msgspec.msgpack.Decoder(ChangeEvent).decode
decode_rejection = msgspec.msgpack.Decoder(Rejection).decode
decode_rejected_body = msgspec.msgpack.Decoder(RejectedBody).decode
decode_reply_to = msgspec.msgpack.Decoder(ReplyTo).decode
decode_verdict = msgspec.msgpack.Decoder(Verdict).decode
decode_audit = msgspec.msgpack.Decoder(AuditRecord).decode
decode_command = msgspec.msgpack.Decoder(Command).decode
