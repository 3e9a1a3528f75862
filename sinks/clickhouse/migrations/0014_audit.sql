-- Who changed what, and who was refused, once each: the writer keeps the place on `audit` unique. Sorted for pages.
CREATE TABLE IF NOT EXISTS audit (
    tenant LowCardinality(String),
    audit_id UUID,
    at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    actor String CODEC(ZSTD(1)),
    action LowCardinality(String),
    kind LowCardinality(String),
    id String CODEC(ZSTD(1)),
    outcome LowCardinality(String),
    before String CODEC(ZSTD(6)),
    after String CODEC(ZSTD(6)),
    address String CODEC(ZSTD(1)),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, at, audit_id)
TTL toDateTime(at) + INTERVAL 400 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000
