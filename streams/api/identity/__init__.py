"""Who calls: people with sessions, programs with tokens."""
