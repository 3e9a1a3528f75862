"""Named queries and their parameters; run them with `ClickHouse.query(sql, params)`.

Times in parameters are milliseconds since 1970 UTC.
"""

#: since -> per partition: if `count` = `distinct`, no row is duplicated; `first` and `last` are offsets.
CONSERVATION = """
SELECT kafka_topic, kafka_partition, count() AS count, uniqExact((kafka_offset, kafka_index)) AS distinct,
    min(kafka_offset) AS first, max(kafka_offset) AS last, uniqExact(kafka_offset) AS offsets
FROM alerts
WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})
GROUP BY kafka_topic, kafka_partition
ORDER BY kafka_topic, kafka_partition
"""

#: since -> (outcome, count)
OUTCOMES = """
SELECT toString(outcome) AS outcome, count() AS count
FROM alerts
WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})
GROUP BY outcome
ORDER BY outcome
"""

#: tenant, since, limit -> the fingerprints with most triggers; resolves and acknowledges do not count as noise
NOISIEST = """
SELECT fingerprint, any(service) AS service, any(dedup_key) AS dedup_key, argMax(summary, received_at) AS summary,
    count() AS count, max(received_at) AS last_seen
FROM alerts
WHERE tenant = {tenant:String} AND action = 'trigger' AND received_at >= fromUnixTimestamp64Milli({since:Int64})
GROUP BY fingerprint
ORDER BY count DESC, fingerprint
LIMIT {limit:UInt32}
"""

#: tenant, limit -> incidents that are not resolved, worst and newest first
OPEN_INCIDENTS = """
SELECT incident_id, toString(status) AS status, toString(severity) AS severity, urgency, service, title, dedup_key,
    opened_at, last_alert_at, alert_count, repeat_count, member_count
FROM incidents FINAL
WHERE tenant = {tenant:String} AND status != 'resolved'
ORDER BY incidents.severity DESC, opened_at DESC
LIMIT {limit:UInt32}
"""

#: tenant, incident_id -> its events in order
TIMELINE = """
SELECT at, version, kind, actor, from_status, to_status, event_id, note
FROM incident_events FINAL
WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
ORDER BY version
"""

#: tenant, incident_id -> who was told of its changes, who was not, and why, in order; attempts that were repeated too
TOLD = """
SELECT finished_at AS at, transition, destination, channel, outcome, attempt, error
FROM deliveries FINAL
WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
ORDER BY finished_at, destination, transition, attempt
"""

#: tenant, since -> per service: triggers, incidents opened, and the share of triggers that opened none (0 to 1)
NOISE_REDUCTION = """
SELECT service, count() AS alerts, countIf(outcome = 'opened') AS opened, 1 - opened / alerts AS reduction
FROM alerts
WHERE tenant = {tenant:String} AND action = 'trigger' AND received_at >= fromUnixTimestamp64Milli({since:Int64})
GROUP BY service
ORDER BY alerts DESC, service
"""

#: tenant, incident_id, hours -> the changes in its service in the hours before it opened, newest first
CHANGES_BEFORE = """
SELECT at, summary, source, links, dateDiff('second', at, incident.opened_at) AS seconds_before
FROM change_events
INNER JOIN (
    SELECT service, opened_at FROM incidents FINAL
    WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
) AS incident ON change_events.service = incident.service
WHERE tenant = {tenant:String}
    AND at BETWEEN incident.opened_at - toIntervalHour({hours:UInt32}) AND incident.opened_at
ORDER BY at DESC
"""

#: integration (a masked key `5f0c2a...`, `apikey/<id>`, or "" for senders that did not identify themselves),
#: since -> why its requests were refused, the latest reason first
REJECTED = """
SELECT reason, status, route, field, sum(rejections.count) AS count, min(at) AS first, max(at) AS last
FROM rejections
WHERE integration = {integration:String} AND at >= fromUnixTimestamp64Milli({since:Int64})
GROUP BY reason, status, route, field
ORDER BY last DESC, count DESC, reason
"""

#: tenant, since -> per integration: alerts that were stored, requests over the limit, and requests refused otherwise
INTEGRATION_TRAFFIC = """
SELECT integration, sum(alerts) AS alerts, sum(limited) AS limited, sum(rejected) AS rejected
FROM (
    SELECT integration, count() AS alerts, 0 AS limited, 0 AS rejected
    FROM alerts
    WHERE tenant = {tenant:String} AND received_at >= fromUnixTimestamp64Milli({since:Int64}) AND integration != ''
    GROUP BY integration
    UNION ALL
    SELECT integration, 0 AS alerts, sumIf(rejections.count, reason = 'rate_limited') AS limited,
        sumIf(rejections.count, reason != 'rate_limited') AS rejected
    FROM rejections
    WHERE tenant = {tenant:String} AND at >= fromUnixTimestamp64Milli({since:Int64})
    GROUP BY integration
)
GROUP BY integration
ORDER BY limited + rejected DESC, integration
"""
