"""What the gateway did not accept: counted by its reason, and the bodies that it could not read."""

import msgspec


class Rejection(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`count` refusals that are alike, of the second from `at` on, in `rejections`. Fields are only ever appended.

    `at` is milliseconds UTC. `tenant` and `integration` are empty for a request that did not identify itself;
    else `integration` is a masked key, or `apikey/<id>`. `route` is the path without what the sender chose in
    it, `field` the dotted path that a 400 is about.
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

    `event_id` is the request's, whose time is that of its arrival. `sender` tells whose it was without being its
    key (schemas.fingerprint.digest of it), `integration` is as people are shown it. `path` and `query` are without
    the key, `headers` those that its provider reads. `body` is at most the first MAX_KEPT bytes of `size`, without
    its content encoding; credentials in it are masked. `field` and `error` are what it was refused with.
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


#: How much of a body is kept.
MAX_KEPT = 65_536
