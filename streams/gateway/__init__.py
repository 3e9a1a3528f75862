"""The HTTP edge: an alert is answered 202 once Kafka has it, and never otherwise."""
