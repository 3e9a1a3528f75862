-- What the gateway refused: alike refusals of one second are one row, so sum(count) counts them.
CREATE TABLE IF NOT EXISTS rejections (
    at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    tenant LowCardinality(String),
    integration LowCardinality(String),
    provider LowCardinality(String),
    route LowCardinality(String),
    reason LowCardinality(String),
    status UInt16,
    field String CODEC(ZSTD(1)),
    count UInt64 CODEC(T64, ZSTD(1)),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, integration, at)
TTL toDateTime(at) + INTERVAL 30 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000
