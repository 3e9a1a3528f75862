-- The newest state of every incident: read it with FINAL. opened_at never changes for an id.
CREATE TABLE IF NOT EXISTS incidents (
    tenant LowCardinality(String),
    incident_id UUID,
    version UInt64,
    status Enum8('open' = 1, 'acknowledged' = 2, 'resolved' = 3),
    severity Enum8('info' = 1, 'warning' = 2, 'error' = 3, 'critical' = 4),
    urgency LowCardinality(String),
    service LowCardinality(String),
    title String CODEC(ZSTD(3)),
    dedup_key String CODEC(ZSTD(1)),
    correlation_key UUID,
    opened_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    acknowledged_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    resolved_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    last_alert_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    alert_count UInt64,
    repeat_count UInt64,
    member_count UInt64,
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    source String CODEC(ZSTD(1)),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(opened_at)
ORDER BY (tenant, incident_id)
SETTINGS non_replicated_deduplication_window = 10000
