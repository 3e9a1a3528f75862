"""Queries that read history from ClickHouse."""
