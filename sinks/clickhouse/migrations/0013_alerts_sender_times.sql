-- The sender's times as it gave them, milliseconds since 1970 UTC by its own clock, 0 for none: they decide which of two
-- events counts (streams/policy/order.py), so a replay needs them. Rows of before have none.
ALTER TABLE alerts
    ADD COLUMN IF NOT EXISTS sent_ms Int64 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS began_ms Int64 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ended_ms Int64 CODEC(T64, ZSTD(1))
