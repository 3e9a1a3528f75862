"""What the gateway did not accept: told by its reason, never by what was in the request."""

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
