"""The stream's verdict on the alerts of a request that waits for it, and the address of the waiting gateway.

The records of a waiting request have one Kafka header, `reply`, on `alerts.raw`, `alerts.normalized` and
`alerts.unique`. Records of other requests have none, and cost nothing. Verdicts are sent on `replies`. The answer to a
command (schemas.wire.command) is a verdict too; its `request` is an id that the sender chose for the wait.
"""

import msgspec

from schemas.wire.command import CommandResult

#: The name of the header; its value is a ReplyTo.
REPLY = "reply"


class ReplyTo(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The waiting gateway, and the alert it waits for. The gateway sets the first two fields, normalize the others.

    `address` is the key of the verdict on `replies`; the key selects the partition that the gateway reads.
    `request` is the event id of the request, which holds `alerts` alerts; this is alert number `index`, from 0.
    """

    address: bytes
    request: bytes
    index: int = 0
    alerts: int = 1
    dedup_key: str = ""


class Verdict(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The verdict on one alert. `incident_id` is 16 bytes, or empty when the alert is part of no incident.

    Only a trigger whose fingerprint is already open is `deduplicated`. A resolve, an acknowledge and an alert that
    arrived too late to count never are. The same verdict may be sent twice after a crash. `command` is the answer to a
    command, None in verdicts on alerts.
    """

    reply_to: ReplyTo
    deduplicated: bool
    incident_id: bytes = b""
    command: CommandResult | None = None
