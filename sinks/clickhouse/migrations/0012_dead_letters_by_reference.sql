-- A dead letter may refer to a run of records that could not be read: this is the last of them.
ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS kafka_last_offset UInt64 DEFAULT kafka_offset
