-- What could not be used, once per stage; topic, partition and offset are the failed record's.
CREATE TABLE IF NOT EXISTS dead_letters (
    at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    stage LowCardinality(String),
    reason LowCardinality(String),
    error String CODEC(ZSTD(3)),
    key String CODEC(ZSTD(1)),
    body String CODEC(ZSTD(6)),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(at)
ORDER BY (kafka_topic, kafka_partition, kafka_offset, stage)
TTL toDateTime(at) + INTERVAL 30 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000
