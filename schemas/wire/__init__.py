"""The values on topics and in requests, and their encodings."""
