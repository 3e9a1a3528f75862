-- The severity before rules. For rows of before it is the one after rules: what a sender said was not kept.
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS severity_raw
    Enum8('info' = 1, 'warning' = 2, 'error' = 3, 'critical' = 4) DEFAULT severity
