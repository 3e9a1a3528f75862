"""The dead letters of one stage's records, and what Kafka takes of its outputs."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from streams.engine import metrics
from streams.engine.broker import Broker, record_size
from streams.engine.losses import OutputTooLargeError, reason

if TYPE_CHECKING:
    from streams.engine.lane import Output, Record

log = logging.getLogger(__name__)


class Letters:
    """`make` gives the output that is a record's dead letter, from the record, what was raised and the time."""

    def __init__(self, agent: str, broker: Broker, make: "Callable[[Record, Exception, int], Output]") -> None:
        self._agent = agent
        self._broker = broker
        self._make = make

    def of(self, record: "Record", error: Exception, now: int) -> "Output":
        """The record's dead letter, without the record's value where that is too much for it."""
        log.warning("%s: %s/%d@%d is a dead letter: %s", self._agent, record.topic, record.partition,
                    record.offset, type(error).__name__)  # fmt: skip
        metrics.DEAD_LETTERS.labels(self._agent, reason(error)).inc()
        letter = self._make(record, error, now)
        topic, key, value, _, headers = letter
        return letter if record_size(key, value, headers) <= self._broker.limit(topic) else _without_body(letter)

    def fit(self, outputs: "Sequence[Output]", records: "Sequence[Record]", now: int) -> "Sequence[Output]":
        """A stage's outputs for these records, with a dead letter in place of each that its topic does not take.

        Raises OutputTooLargeError where there are several records, one of which gave it. What a tick gives is not
        looked at: there is no record to name, and Kafka itself refuses it when it is sent.
        """
        most = self._broker.fits_everywhere
        for _, _, value, _, _ in outputs:
            if value is not None and len(value) > most:
                return self._replaced(outputs, records, now) if records else outputs
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
            # A dead letter of the stage's own keeps its reason.
            fitting.append(_without_body(output) if topic == letters else letter)
        return fitting


def _without_body(letter: "Output") -> "Output":
    topic, key, _, partition, headers = letter
    return topic, key, b"", partition, headers
