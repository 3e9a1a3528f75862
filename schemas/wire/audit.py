"""Who changed what, and who was refused: records of the topic `audit`."""

import msgspec


class AuditRecord(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One action. Fields are only ever appended.

    `at` is milliseconds UTC, `audit_id` a UUIDv7. `actor` is a login, `token:<name>`, `cli:<user>`, or empty for nobody
    known; `address` is where the request came from, empty for a command. `action` is a verb in the past (`created`), or
    the refused operation's id; `kind` and `id` name its object. `outcome` is `done` or why it was not. `before` and
    `after` are JSON objects of the fields that differ, with secrets masked, or empty.
    """

    tenant: str
    audit_id: bytes
    at: int
    actor: str
    action: str
    kind: str = ""
    id: str = ""
    outcome: str = "done"
    before: str = ""
    after: str = ""
    address: str = ""
