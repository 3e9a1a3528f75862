"""The ends of the stream: ClickHouse and the channels. A sink knows the words and its vendor, no stage."""
