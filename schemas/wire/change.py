"""Change events: deployments and changes of configuration in a service. They open no incident; they explain some."""

import msgspec


class ChangeEvent(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One change, on `changes`. `at` is the sender's time, else the time of arrival; all times are milliseconds UTC.

    `event_id` is a UUIDv7, `details` JSON text or empty; `integration` is in the form shown to people.
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
