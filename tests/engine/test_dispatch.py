"""The stage dispatch on a real broker, killed at every step of a commit."""

import time
from collections import defaultdict
from itertools import count

from schemas.wire.codec import decode_notification, encode
from schemas.wire.incident import IncidentChange, Status
from tests.engine.conftest import MakeRig
from tests.engine.harness import Rig, until
from tests.policy.test_mutes import incident

#: Incidents between two kills.
COUNT = 1_000
#: What correlation counts its changes by.
VIA = count()
#: Each incident has one message of its beginning, and one of its end.
BOTH = {"triggered": 1, "resolved": 1}


def change(rig: Rig, number: int, status: Status = Status.OPEN) -> tuple[bytes, bytes]:
    """The change of an incident that opens, or ends, with its key; every second one waits for a timer."""
    resolved = status == Status.RESOLVED
    key = b"default/%d" % (number % 40)
    one = incident(
        incident_id=number.to_bytes(16, "big"), version=2 if resolved else 1, status=status,
        source="held" if number % 2 else "free",
    )  # fmt: skip
    return key, encode(
        IncidentChange(
            incident=one, kind="resolved" if resolved else "triggered", at=one.opened_at,
            via_partition=rig.partition(key), via=next(VIA), severity=one.severity, announces=not resolved,
        )
    )  # fmt: skip


async def test_every_incident_is_told_and_none_under_two_ids(make_rig: MakeRig) -> None:
    """Killed before the notifications, between these and the changelog, and after it: what is sent again is the same.

    Half of the incidents are told as they come, the others by a timer.
    """
    rig = await make_rig()
    # A start appends one fence to each of the four changelog partitions.
    steps = [("send", 1), ("append", 5), ("send", 2), ("append", 6)]
    total = 0
    for step in steps:
        await rig.send([change(rig, number) for number in range(total, total + COUNT)])
        total += COUNT
        worker = rig.worker(run="dispatch", die_at=step)
        assert await worker.ended(60) == -9
        await rig.kill(worker)
    rig.worker(run="dispatch")
    await rig.drained()
    # Time goes on with records: the end of an incident that was never there lets the last timers fire.
    unknown = change(rig, 10_000_000, Status.RESOLVED)[1]
    for place in range(rig.partitions):
        await rig.send([(b"end", unknown)], partition=place, timestamp=int(time.time() * 1000) + 5_000)

    async def told() -> dict[bytes, dict[str, set[bytes]]]:
        found: dict[bytes, dict[str, set[bytes]]] = defaultdict(lambda: defaultdict(set))
        for record in await rig.read(rig.output):
            each = decode_notification(record.value or b"")
            found[each.incident.incident_id][str(each.transition)].add(each.notification_id)
        return found

    async def all_told() -> bool:
        return len(await told()) == total

    await until(all_told, 10, "every incident told", every=0.5)
    await rig.send([change(rig, number, Status.RESOLVED) for number in range(total)])
    await rig.drained()
    found = await told()
    wrong = {key: dict(ids) for key, ids in found.items() if {name: len(each) for name, each in ids.items()} != BOTH}
    assert not wrong
    assert len(found) == total
