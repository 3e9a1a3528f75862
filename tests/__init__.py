"""The suite: real Kafka, the real ClickHouse engine, real HTTP servers on loopback."""
