"""Tests of the load generator and its ledger."""
