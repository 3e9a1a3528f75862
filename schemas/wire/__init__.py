"""The values on topics and in requests, and how they are encoded."""
