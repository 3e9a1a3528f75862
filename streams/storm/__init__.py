"""The load generator and its ledger: play a storm, then prove in ClickHouse that nothing is lost or doubled."""
