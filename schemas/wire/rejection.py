"""Requests that the gateway rejected: their counts by reason, and the bodies that it could not read."""

import msgspec


class Rejection(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`count` equal rejections in the second that begins at `at`, on `rejections`. Fields are only ever appended.

    `at` is milliseconds UTC. `tenant` and `integration` are empty for a request without a valid key;
    otherwise `integration` is a masked key, or `apikey/<id>`. `route` is the path without the parts that the sender
    chose, `field` the dotted path of the field that caused a 400.
    """

    at: int
    tenant: str
    integration: str
    provider: str
    route: str
    reason: str
    status: int
    field: str
    count: int


class RejectedBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An authenticated request whose body could not be read, on `rejected.bodies`. Fields are only ever appended.

    `event_id` is the request's; its time is the time of arrival. `sender` is the schemas.fingerprint.digest of the
    sender's id, which identifies the sender without revealing its key; `integration` is in the form shown to people.
    `path` and `query` are without the key, `headers` are those that the provider reads. `body` is at most the first
    MAX_KEPT bytes of `size`, without its content encoding and with credentials masked. `field` and `error` are the
    field and the reason of the rejection.
    """

    event_id: bytes
    tenant: str
    service: str
    sender: bytes
    integration: str
    provider: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    field: str
    error: str
    size: int
    body: bytes


#: How many bytes of a body are kept.
MAX_KEPT = 65_536
