"""Faust, fast and exact: whole batches to pure stages, one group commit per partition.

A stage sees one list of records per partition and fetch, changes partition-local state and returns
outputs. A commit is: outputs acknowledged by the broker, then state and source position in one atomic
changelog flush, then the offset. So state is exact, and outputs are at least once and in order.
`transport.py` alone overrides Faust; docs/adr/0001 tells why each override exists.
"""

from streams.engine.app import Engine
from streams.engine.batch_lane import BatchSink
from streams.engine.lane import DeadLetters, Output, Record, Stage, TableSpec
from streams.engine.losses import Loss, reason
from streams.engine.task_lane import TaskSink

__all__ = [
    "BatchSink",
    "DeadLetters",
    "Engine",
    "Loss",
    "Output",
    "Record",
    "Stage",
    "TableSpec",
    "TaskSink",
    "reason",
]
