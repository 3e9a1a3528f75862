"""Tests of the clickhouse room."""
