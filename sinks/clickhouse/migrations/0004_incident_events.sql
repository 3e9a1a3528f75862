-- The timeline of every incident, one row per version.
CREATE TABLE IF NOT EXISTS incident_events (
    tenant LowCardinality(String),
    incident_id UUID,
    at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    version UInt64,
    kind LowCardinality(String),
    actor LowCardinality(String),
    from_status LowCardinality(String),
    to_status LowCardinality(String),
    event_id UUID,
    note String CODEC(ZSTD(3)),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, incident_id, version)
TTL toDateTime(at) + INTERVAL 400 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000
