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

#: tenant, limit -> the newest incidents in any state
NEWEST_INCIDENTS = """
SELECT incident_id, toString(status) AS status, toString(severity) AS severity, urgency, service, title, dedup_key,
    opened_at, last_alert_at, alert_count, repeat_count, member_count
FROM incidents FINAL
WHERE tenant = {tenant:String}
ORDER BY opened_at DESC, incident_id
LIMIT {limit:UInt32}
"""

#: tenant, prefix (the beginning of an id as text, in lower case), limit -> the incidents whose id begins so
INCIDENTS_BY_ID = """
SELECT incident_id, version, toString(status) AS status, toString(severity) AS severity, urgency, service, title,
    dedup_key, correlation_key, opened_at, acknowledged_at, resolved_at, last_alert_at, alert_count, repeat_count,
    member_count, labels, source
FROM incidents FINAL
WHERE tenant = {tenant:String} AND startsWith(toString(incident_id), {prefix:String})
ORDER BY opened_at DESC, incident_id
LIMIT {limit:UInt32}
"""

#: tenant, incident_id -> its events and the deliveries about it, in order; each has the columns of both. An event has
#: a version and an actor; a delivery has a destination, an outcome, and in `note` the reason if it was not delivered.
#: Events keep the order of their versions: an alert that was late comes after what was done before it was processed
TIMELINE = """
SELECT at, version, kind, actor, from_status, to_status, destination, channel, outcome, attempt, http_status, note
FROM (
    SELECT at, version, kind, actor, from_status, to_status, '' AS destination, '' AS channel, '' AS outcome,
        0 AS attempt, 0 AS http_status, note, max(at) OVER (ORDER BY version) AS place
    FROM incident_events FINAL
    WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
    UNION ALL
    SELECT finished_at AS at, 0 AS version, transition AS kind, '' AS actor, '' AS from_status, '' AS to_status,
        destination, channel, outcome, attempt, http_status, error AS note, finished_at AS place
    FROM deliveries FINAL
    WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
)
ORDER BY place, destination != '', version, destination, attempt
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

#: tenant and destination ("" for any), failed (1: only attempts that failed), since, limit -> delivery attempts, the
#: latest first
ATTEMPTS = """
SELECT finished_at, tenant, destination, channel, transition, outcome, attempt, http_status, error, queued_at, sent_at,
    incident_id, notification_id
FROM deliveries FINAL
WHERE finished_at >= fromUnixTimestamp64Milli({since:Int64})
    AND ({tenant:String} = '' OR tenant = {tenant:String})
    AND ({destination:String} = '' OR destination = {destination:String})
    AND ({failed:UInt8} = 0 OR outcome IN ('retry', 'failed'))
ORDER BY finished_at DESC, notification_id, attempt DESC
LIMIT {limit:UInt32}
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
