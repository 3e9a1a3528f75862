-- With ttl_only_drop_parts versions of ClickHouse never clear a column whose own TTL ended (fixed by its pull request
-- 118428; 26.9 clears it). Without it every version does, in old parts as well, at their next TTL merge.
ALTER TABLE alerts MODIFY SETTING ttl_only_drop_parts = 0
