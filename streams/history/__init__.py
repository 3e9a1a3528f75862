"""What is read back from ClickHouse."""
