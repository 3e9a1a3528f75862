"""History in ClickHouse: the schema, the way in (exactly once per Kafka record) and the named ways out."""
