"""What the stages would do, and what they did: without a broker, with time from the data alone."""
