"""The HTTP edge: an alert is answered 202 only after Kafka has acknowledged it."""
