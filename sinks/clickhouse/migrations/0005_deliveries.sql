-- One row per delivery attempt; the notification's id is the same over its attempts.
CREATE TABLE IF NOT EXISTS deliveries (
    tenant LowCardinality(String),
    notification_id UUID,
    incident_id UUID,
    channel LowCardinality(String),
    destination LowCardinality(String),
    transition LowCardinality(String),
    attempt UInt16,
    queued_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    sent_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    finished_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    outcome LowCardinality(String),
    http_status UInt16,
    error LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(finished_at)
PARTITION BY toYYYYMM(queued_at)
ORDER BY (tenant, notification_id, attempt)
TTL toDateTime(queued_at) + INTERVAL 180 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000
