-- Which migrations ran. `sinks.clickhouse.migrate` runs this one first, every time.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version UInt32,
    name String,
    checksum FixedString(64),
    applied_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version
SETTINGS non_replicated_deduplication_window = 10000
