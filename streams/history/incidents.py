"""What is recorded of incidents: rows of ClickHouse as the values that the rest of Stormweir works with."""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.wire.alert import Severity
from schemas.wire.command import MAX_MEMBERS
from schemas.wire.incident import Incident, Status
from streams.history import queries
from streams.history.queries import Query
from streams.history.times import milliseconds


class MembersError(ValueError):
    """Dedup keys that no alert can be found by; `index` is the first one's, None if they have too many alerts."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


def incident_of(row: Mapping[str, Any], status: Status | None = None) -> Incident:
    """The incident of a row of ClickHouse, in another status if there is one."""
    return Incident(
        tenant=row.get("tenant", ""),
        incident_id=row["incident_id"].bytes,
        version=row["version"],
        status=status or Status[row["status"].upper()],
        severity=Severity[row["severity"].upper()],
        service=row["service"],
        title=row["title"],
        dedup_key=row["dedup_key"],
        correlation_key=row["correlation_key"].bytes,
        opened_at=milliseconds(row["opened_at"]),
        acknowledged_at=milliseconds(row["acknowledged_at"]),
        resolved_at=milliseconds(row["resolved_at"]),
        last_alert_at=milliseconds(row["last_alert_at"]),
        alert_count=row["alert_count"],
        repeat_count=row["repeat_count"],
        member_count=row["member_count"],
        labels=dict(row["labels"]),
        source=row["source"],
    )


async def members_of(query: Query, tenant: str, keys: Sequence[str]) -> tuple[bytes, ...]:
    """The fingerprints of the alerts with these dedup keys, for a split. Raises MembersError."""
    found = await query(queries.FINGERPRINTS, {"tenant": tenant, "keys": list(keys), "limit": MAX_MEMBERS + 1})
    known = {row["dedup_key"] for row in found}
    for index, key in enumerate(keys):
        if key not in known:
            raise MembersError(f"no alert {key!r}; a new one is in ClickHouse within seconds", index)
    if len(found) > MAX_MEMBERS:
        raise MembersError(f"more than {MAX_MEMBERS} alerts cannot be moved at once")
    return tuple(row["fingerprint"].bytes for row in found)
