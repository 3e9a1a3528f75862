"""Contract tests of the engine, on a real Kafka and with both stores."""
