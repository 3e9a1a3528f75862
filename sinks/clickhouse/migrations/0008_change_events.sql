-- What was changed, once each: the writer keeps the place on `changes` unique. Sorted for "before this incident".
CREATE TABLE IF NOT EXISTS change_events (
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    event_id UUID,
    provider LowCardinality(String),
    integration LowCardinality(String),
    service LowCardinality(String),
    summary String CODEC(ZSTD(3)),
    source String CODEC(ZSTD(1)),
    details String CODEC(ZSTD(6)),
    links String CODEC(ZSTD(3)),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (tenant, service, at)
TTL toDateTime(received_at) + INTERVAL 400 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000
