"""What the API's processes remember together: the values of the compacted topic `console`, by the kind in their key.

No value is ever both written by one process and deleted by another, but for those that may come back: a session and a
link are written once, so that a deleted one stays deleted.
"""

import msgspec


class Session(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """Key `session/<SHA-256 of the cookie's value>`: somebody is logged in. Written once, deleted at its end.

    Times are milliseconds UTC. `agent` is the browser's own name for itself.
    """

    account: str
    tenant: str
    created_at: int
    address: str
    agent: str


class Seen(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """Key `seen/<id>` of a session, an account or a token: when it was last used, milliseconds UTC."""

    at: int


class View(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """Key `view/<id>`: a query that somebody has saved under a name."""

    account: str
    tenant: str
    name: str
    query: str
    created_at: int


class SetupLink(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """Key `setup/<SHA-256 of the link's token>`: it makes a tenant's first owner, once, until `expires_at` (ms UTC)."""

    tenant: str
    expires_at: int
