"""The dead letters for one stage's records, and for outputs that are too large for their topics."""

import logging
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from streams.engine import metrics
from streams.engine.broker import Broker, record_size
from streams.engine.losses import OutputTooLargeError, reason

if TYPE_CHECKING:
    from streams.engine.lane import Output, Record

log = logging.getLogger(__name__)
_value: "Callable[[Output], bytes | None]" = itemgetter(2)  # type: ignore[assignment]


class Letters:
    """`make` makes a record's dead letter from the record, the exception and the time."""

    def __init__(self, agent: str, broker: Broker, make: "Callable[[Record, Exception, int], Output]") -> None:
        self._agent = agent
        self._broker = broker
        self._make = make

    def of(self, record: "Record", error: Exception, now: int) -> "Output":
        """The record's dead letter, without its value if it would be too large for the dead letters' topic."""
        log.warning("%s: %s/%d@%d is a dead letter: %s", self._agent, record.topic, record.partition,
                    record.offset, type(error).__name__)  # fmt: skip
        metrics.DEAD_LETTERS.labels(self._agent, reason(error)).inc()
        letter = self._make(record, error, now)
        topic, key, value, _, headers = letter
        return letter if record_size(key, value, headers) <= self._broker.limit(topic) else _without_body(letter)

    def fit(self, outputs: "Sequence[Output]", records: "Sequence[Record]", now: int) -> "Sequence[Output]":
        """A stage's outputs for these records; a dead letter replaces each output that is too large for its topic.

        Raises OutputTooLargeError if there are several records, since any of them may have caused the output. Outputs
        without records are not checked: there is no record to name, and Kafka rejects such an output when it is sent.
        """
        largest = max(map(len, filter(None, map(_value, outputs))), default=0)
        if largest > self._broker.fits_everywhere and records:
            return self._replaced(outputs, records, now)
        return outputs

    def _replaced(self, outputs: "Sequence[Output]", records: "Sequence[Record]", now: int) -> "list[Output]":
        fitting: list[Output] = []
        for output in outputs:
            topic, key, value, _, headers = output
            size, limit = record_size(key, value, headers), self._broker.limit(topic)
            if size <= limit:
                fitting.append(output)
                continue
            error = OutputTooLargeError(topic, size, limit)
            if len(records) > 1:
                raise error
            letter = self.of(records[0], error, now)
            letters, *_ = letter
            # A dead letter that the stage itself made keeps its reason.
            fitting.append(_without_body(output) if topic == letters else letter)
        return fitting


def _without_body(letter: "Output") -> "Output":
    topic, key, _, partition, headers = letter
    return topic, key, b"", partition, headers
