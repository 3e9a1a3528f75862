"""The whole path of an alert, on one page. Each line is a topic, the stage that reads it, and its state."""

from collections.abc import Callable

from schemas import topics
from schemas.alert import Alert
from schemas.codec import DecodeError, decode_alert, decode_unique
from schemas.control import Control
from schemas.records import Output, Record
from streams import dedup
from streams.correlate import Correlate
from streams.dedup import Dedup
from streams.engine import Engine, TableSpec
from streams.normalize import Normalize, dead_letter

#: What the stages below write; the engine asks the broker for their partitions.
OUTPUTS = (
    topics.ALERTS_NORMALIZED,
    topics.ALERTS_UNIQUE,
    topics.ALERTS_HISTORY,
    topics.INCIDENTS,
    topics.INCIDENTS_EVENTS,
    topics.NOTIFICATIONS,
    topics.REPLIES,
    topics.DEADLETTERS,
)


def build(engine: Engine, control: Control, max_keys: int) -> None:
    """Wire the worker's stages: requests and events -> alerts -> unique alerts -> incidents."""
    normalize = Normalize(control)
    stage = engine.stage

    # webhooks, Events API, and producers in the company -> one canonical alert each
    stage(topics.AGENT_NORMALIZE, topics.ALERTS_RAW.name, normalize.requests, dead_letters=poison("normalize"))
    stage(topics.AGENT_NORMALIZE, topics.ALERTS_EVENTS.name, normalize.events, dead_letters=poison("normalize"))

    # repeats fold into one update per fingerprint and window
    stage(
        topics.AGENT_DEDUP,
        topics.ALERTS_NORMALIZED.name,
        Dedup(control),
        table=TableSpec(topics.DEDUP.name, topics.DEDUP.changelog.name, max_keys, dedup.deadline),
        dead_letters=poison("dedup", decode_alert),
        ticks=True,
    )

    # what belongs together is one incident; rules decide who hears of it
    stage(
        topics.AGENT_CORRELATE,
        topics.ALERTS_UNIQUE.name,
        Correlate(control),
        table=TableSpec(topics.CORRELATION.name, topics.CORRELATION.changelog.name, max_keys),
        dead_letters=poison("correlate", lambda value: decode_unique(value).alert),
    )


def poison(
    stage: str, read: Callable[[bytes], Alert | None] = lambda value: None
) -> Callable[[Record, Exception, int], Output]:
    """The dead letter of a record that makes `stage` fail; `read` finds the alert in it, for its origin."""

    def letter(record: Record, error: Exception, now: int) -> Output:
        try:
            origin = read(record.value or b"")
        except DecodeError:
            origin = None
        return dead_letter(stage, type(error).__name__, error, record, now, origin)

    return letter
