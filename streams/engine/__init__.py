"""The engine on top of Faust: it passes whole batches to pure stages and makes one group commit per partition.

A stage gets one list of records per partition and fetch, changes partition-local state and returns
outputs. A commit has three steps: the broker acknowledges the outputs, then one atomic changelog flush
stores state and source position, then the offset is committed. So state is exact, and outputs are sent
at least once and in order. Only `transport.py` overrides Faust; docs/adr/0001 explains each override.
"""

from streams.engine.app import Engine
from streams.engine.batch_lane import BatchSink
from streams.engine.lane import Attendant, DeadLetters, Output, Record, Stage, TableSpec
from streams.engine.losses import Loss, reason

__all__ = [
    "Attendant",
    "BatchSink",
    "DeadLetters",
    "Engine",
    "Loss",
    "Output",
    "Record",
    "Stage",
    "TableSpec",
    "reason",
]
