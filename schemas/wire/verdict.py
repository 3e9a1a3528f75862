"""The stream's verdict on the alerts of a request whose sender waits for it, and the way back to it.

A request that waits has one Kafka record header, `reply`, from `alerts.raw` over `alerts.normalized` to
`alerts.unique`; what nobody waits for has none, and costs nothing. Verdicts travel on `replies`.
"""

import msgspec

#: The name of the header; its value is a ReplyTo.
REPLY = "reply"


class ReplyTo(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Who waits, and for which alert. The gateway fills in the first two, normalize the rest.

    `address` is the key of the verdict on `replies`: it leads to the partition that the gateway reads.
    `request` is the event id of the request, which holds `alerts` alerts; this is the `index`-th of them.
    """

    address: bytes
    request: bytes
    index: int = 0
    alerts: int = 1
    dedup_key: str = ""


class Verdict(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What became of one alert. `incident_id` is 16 bytes, or empty when it is part of no incident.

    Only a trigger whose fingerprint is open already is a duplicate. A resolve, an acknowledge and what
    comes too late to count never are. The same verdict may be told twice after a crash.
    """

    reply_to: ReplyTo
    deduplicated: bool
    incident_id: bytes = b""
