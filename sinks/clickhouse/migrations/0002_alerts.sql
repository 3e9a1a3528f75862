-- Every alert once, with its one outcome. (kafka_topic, kafka_partition, kafka_offset, kafka_index) is the place
-- it came from; the writer keeps that unique, so the engine is plain MergeTree. No incident: the id of zeros.
--
-- Here and in every table: non_replicated_deduplication_window makes a repeated insert with the same token write
-- nothing. ReplicatedMergeTree has replicated_deduplication_window instead: set it to 10000 there.
CREATE TABLE IF NOT EXISTS alerts (
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    starts_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ends_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    event_id UUID,
    provider LowCardinality(String),
    integration LowCardinality(String),
    service LowCardinality(String),
    severity Enum8('info' = 1, 'warning' = 2, 'error' = 3, 'critical' = 4),
    action Enum8('trigger' = 1, 'acknowledge' = 2, 'resolve' = 3),
    outcome Enum8('opened' = 1, 'correlated' = 2, 'deduplicated' = 3, 'suppressed' = 4, 'acknowledged' = 5,
                  'resolved' = 6, 'stale' = 7, 'unmatched' = 8),
    fingerprint UUID,
    incident_id UUID,
    dedup_key String CODEC(ZSTD(1)),
    summary String CODEC(ZSTD(3)),
    source String CODEC(ZSTD(1)),
    component LowCardinality(String),
    alert_group LowCardinality(String),
    alert_class LowCardinality(String),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    details String CODEC(ZSTD(6)) TTL toDateTime(received_at) + INTERVAL 14 DAY,
    links String CODEC(ZSTD(3)),
    rule LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16 CODEC(T64, ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    kafka_index UInt32 CODEC(T64, ZSTD(1)),
    INDEX ix_fingerprint fingerprint TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_incident incident_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_summary summary TYPE tokenbf_v1(16384, 3, 0) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (tenant, service, received_at)
TTL toDateTime(received_at) + INTERVAL 90 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
