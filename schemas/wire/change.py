"""What was changed in a service: deployed, configured, switched. It opens nothing and explains much."""

import msgspec


class ChangeEvent(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One change, on `changes`. `at` is the sender's time, else that of arrival; both in milliseconds UTC.

    `event_id` is a UUIDv7, `details` JSON text or empty; `integration` is as people are shown it.
    Fields are only ever appended.
    """

    tenant: str
    service: str
    integration: str
    provider: str
    event_id: bytes
    received_at: int
    at: int
    summary: str
    source: str
    details: bytes = b""
    links: list[dict[str, str]] = []
