"""What a stage is given, what is acknowledged, and what a restart finds."""

import json

from tests.engine.conftest import MakeRig


async def test_a_stage_is_given_lists_in_order_and_every_record_once(make_rig: MakeRig) -> None:
    """Batches of a partition follow each other without gap or repeat, and there are far fewer than records."""
    rig = await make_rig()
    await rig.load(40_000, 40_000)
    rig.worker(run="batches")
    await rig.drained()
    seen: dict[int, list[int]] = {place: [] for place in range(4)}
    outputs = await rig.read(rig.output)
    for record in outputs:
        partition, offsets = json.loads(record.value)
        seen[partition] += offsets
    ends = await rig.ends(rig.source)
    assert seen == {place: list(range(end)) for place, end in ends.items()}
    assert len(outputs) < 400


async def test_counts(make_rig: MakeRig, store: str) -> None:
    rig = await make_rig()
    await rig.load(60_000, 3_000)
    worker = rig.worker(store=store)
    await rig.drained()
    await rig.check()
    assert await worker.terminate() == 0
