"""The parts a machine without a cluster runs itself: Kafka, ClickHouse, and the stack that holds them."""
