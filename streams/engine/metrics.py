"""The engine's metrics. No label holds a key of a table or record."""

from prometheus_client import Counter, Gauge

PROCESSED = Counter("stormweir_records_processed_total", "Records a stage or sink has taken", ["agent"])
SENT = Counter("stormweir_records_sent_total", "Records sent and acknowledged by the broker", ["topic"])
DEAD_LETTERS = Counter("stormweir_dead_letters_total", "Records that became dead letters", ["stage", "reason"])
RETRIES = Counter("stormweir_commit_retries_total", "Commits tried again", ["agent"])
WRITE_FAILURES = Counter("stormweir_writer_failures_total", "Writes that failed", ["topic", "reason"])
OLDEST_UNWRITTEN = Gauge(
    "stormweir_writer_oldest_unwritten_seconds",
    "Age of the oldest record that was read and not yet written",
    ["topic", "partition"],
)
UNREADABLE = Counter(
    "stormweir_fetch_unreadable_total", "Fetches of a partition whose next batch could not be read", ["topic", "error"]
)
EVICTED = Counter("stormweir_state_evicted_total", "Keys forgotten because a table was full", ["table"])
FIRED = Counter("stormweir_deadlines_fired_total", "Deadlines that came true", ["agent"])
OVER_BOUND = Gauge(
    "stormweir_state_over_bound_keys", "Keys above a table's bound that may not be forgotten", ["table", "partition"]
)
WATERMARK_AGE = Gauge(
    "stormweir_watermark_age_seconds",
    "How far a partition's time is behind its broker's clock",
    ["topic", "partition"],
)
KEYS = Gauge("stormweir_state_keys", "Keys of a table partition", ["table", "partition"])
FOREIGN_WRITES = Counter(
    "stormweir_changelog_foreign_writes_total", "Changelog writes of another owner noticed", ["table"]
)
RECOVERY = Gauge("stormweir_table_recovery_seconds", "How long the newest recovery of a table took", ["table"])
REBALANCES = Counter("stormweir_consumer_rebalances_total", "Assignments received")
LAG = Gauge("stormweir_consumer_lag_records", "Records behind the end of a partition", ["topic", "partition"])
COMMIT_AGE = Gauge(
    "stormweir_consumer_commit_age_seconds",
    "Since the last progress of a busy partition",
    ["topic", "partition"],
)
