"""The services that a machine without a cluster runs itself: Kafka, ClickHouse, and the stack that runs them."""
