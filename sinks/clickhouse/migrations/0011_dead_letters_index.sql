-- Several rows of one record may each become a dead letter: without the index they would replace each other.
ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS kafka_index UInt32,
    MODIFY ORDER BY (kafka_topic, kafka_partition, kafka_offset, stage, kafka_index)
