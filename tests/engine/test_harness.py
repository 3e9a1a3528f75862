"""Control: the checks of these tests see a missing, a doubled and a wrong record."""

from collections import Counter

import pytest

from tests.engine.conftest import MakeRig
from tests.engine.harness import check_counts, check_outputs


async def test_the_checks_see_what_is_missing_doubled_or_wrong(make_rig: MakeRig) -> None:
    """After a right run, the same checks fail as soon as one record more, less or other was sent."""
    rig = await make_rig()
    await rig.load(5_000, 100)
    rig.worker()
    await rig.drained()
    await rig.check()
    table, outputs = await rig.table(), await rig.read(rig.output)
    with pytest.raises(AssertionError, match=r"1 keys wrong, sum 5000 of 4999"):
        check_counts(table, rig.sent - Counter([b"k7"]))
    with pytest.raises(AssertionError, match=r"1 keys wrong, sum 5000 of 5001"):
        check_counts(table, rig.sent + Counter([b"unsent"]))
    with pytest.raises(AssertionError, match="1 outputs are missing"):
        check_outputs(outputs, rig.first | {b"unsent": b"1"})
    with pytest.raises(AssertionError, match="1 outputs are missing"):
        check_outputs([record for record in outputs if record.key != b"k7"], rig.first)
    with pytest.raises(AssertionError, match="other outputs than repeats"):
        check_outputs(outputs, rig.first | {b"k7": b"another"})
    check_outputs(outputs + outputs, rig.first)
