"""History in ClickHouse: the schema, and the writer, which stores every Kafka record exactly once."""
