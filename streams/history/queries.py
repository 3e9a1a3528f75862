"""Named queries and their parameters; run them with `ClickHouse.query(sql, params)`.

Times in parameters are milliseconds since 1970 UTC.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

#: Asks ClickHouse: the rows of a query with these parameters.
Query = Callable[[str, Mapping[str, object]], Awaitable[list[dict[str, Any]]]]

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

#: tenant, keys (dedup keys), limit -> the fingerprints of alerts with these keys
FINGERPRINTS = """
SELECT DISTINCT fingerprint, dedup_key
FROM alerts
WHERE tenant = {tenant:String} AND dedup_key IN {keys:Array(String)} AND action = 'trigger'
ORDER BY dedup_key, fingerprint
LIMIT {limit:UInt32}
"""

#: tenant, since, limit -> incidents that are not resolved, then those that opened since, each the newest first
INCIDENTS_SINCE = """
SELECT incident_id, version, toString(status) AS status, toString(severity) AS severity, urgency, service, title,
    dedup_key, correlation_key, opened_at, acknowledged_at, resolved_at, last_alert_at, alert_count, repeat_count,
    member_count, labels, source
FROM incidents FINAL
WHERE tenant = {tenant:String}
    AND (status != 'resolved' OR opened_at >= fromUnixTimestamp64Milli({since:Int64}))
ORDER BY incidents.status = 'resolved', opened_at DESC, incident_id
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

#: tenant, since, until -> the alerts that arrived then, in the order in which a replay takes them
ALERTS_IN_ORDER = """
SELECT tenant, toUnixTimestamp64Milli(alerts.received_at) AS received_at,
    toUnixTimestamp64Milli(alerts.starts_at) AS starts_at, toUnixTimestamp64Milli(alerts.ends_at) AS ends_at, event_id,
    provider, integration, service, toInt8(severity_raw) AS severity, toInt8(action) AS action,
    toInt8(outcome) AS outcome, fingerprint, incident_id, dedup_key, summary, source, component, alert_group,
    alert_class, labels, details, links, rule, kafka_topic, kafka_partition, kafka_offset, kafka_index, sent_ms,
    began_ms, ended_ms
FROM alerts
WHERE tenant = {tenant:String} AND alerts.received_at >= fromUnixTimestamp64Milli({since:Int64})
    AND alerts.received_at < fromUnixTimestamp64Milli({until:Int64})
ORDER BY alerts.received_at, kafka_topic, kafka_partition, kafka_offset, kafka_index
"""

#: tenant, since, until -> what people did with incidents then, in order
HUMAN_EVENTS = """
SELECT incident_id, toUnixTimestamp64Milli(event.at) AS at, version, kind, actor, event_id, note
FROM incident_events AS event FINAL
WHERE tenant = {tenant:String} AND actor NOT IN ('stream', 'stormweir')
    AND event.at >= fromUnixTimestamp64Milli({since:Int64}) AND event.at < fromUnixTimestamp64Milli({until:Int64})
ORDER BY event.at, incident_id, version
"""

#: tenant, since, until -> for each incident and destination the reasons and attempts of the message that it is there
FIRST_DELIVERIES = """
SELECT incident_id, destination, toUnixTimestamp64Milli(min(queued_at)) AS at, max(attempt) AS attempts,
    groupUniqArray(error) AS reasons
FROM deliveries FINAL
WHERE tenant = {tenant:String} AND transition = 'triggered'
    AND queued_at >= fromUnixTimestamp64Milli({since:Int64}) AND queued_at < fromUnixTimestamp64Milli({until:Int64})
GROUP BY incident_id, destination
ORDER BY incident_id, destination
"""

#: tenant, prefix (the beginning of an event id as text), since, until (the times that such an id can have), limit ->
#: the alerts whose event id begins so
ALERTS_BY_ID = """
SELECT event_id, received_at, provider, integration, service, toString(severity) AS severity,
    toString(severity_raw) AS severity_raw, toString(action) AS action, toString(outcome) AS outcome, fingerprint,
    incident_id, dedup_key, summary, rule
FROM alerts
WHERE tenant = {tenant:String} AND startsWith(toString(event_id), {prefix:String})
    AND received_at >= fromUnixTimestamp64Milli({since:Int64}) AND received_at < fromUnixTimestamp64Milli({until:Int64})
ORDER BY received_at, event_id
LIMIT {limit:UInt32}
"""

#: tenant, fingerprint, until -> the latest alert with this key, of before, that opened or joined an incident
MEMBER_BEFORE = """
SELECT event_id, received_at, incident_id, toString(outcome) AS outcome
FROM alerts
WHERE tenant = {tenant:String} AND fingerprint = {fingerprint:UUID} AND outcome IN ('opened', 'correlated')
    AND received_at <= fromUnixTimestamp64Milli({until:Int64})
ORDER BY received_at DESC
LIMIT 1
"""

#: tenant, incident_id, since (when it opened), after (an event id), limit -> its alerts in order, without repeats that
#: folded, from `since` on; those of that very millisecond only if their event id is greater
ALERTS_OF_INCIDENT = """
SELECT event_id, received_at, provider, integration, service, toString(severity) AS severity,
    toString(severity_raw) AS severity_raw, toString(action) AS action, toString(outcome) AS outcome, fingerprint,
    incident_id, dedup_key, summary, rule, source, labels, links
FROM alerts
WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
    AND received_at >= fromUnixTimestamp64Milli({since:Int64})
    AND (received_at > fromUnixTimestamp64Milli({since:Int64}) OR toString(event_id) > {after:String})
ORDER BY received_at, toString(event_id)
LIMIT {limit:UInt32}
"""

#: tenant, incident_id, since (when it opened), limit -> the incidents that ended in it, or that it is the cause of, or
#: that it was told for in a storm of the tenant
CHILDREN_OF_INCIDENT = """
SELECT DISTINCT incident_id
FROM (
    SELECT incident_id FROM incident_events
    WHERE tenant = {tenant:String} AND kind = 'merged' AND startsWith(note, concat('into ', {incident_id:String}))
        AND at >= fromUnixTimestamp64Milli({since:Int64})
    UNION ALL
    SELECT incident_id FROM deliveries
    WHERE tenant = {tenant:String}
        AND error IN (concat('cause/', {incident_id:String}), concat('storm/', {incident_id:String}))
        AND queued_at >= fromUnixTimestamp64Milli({since:Int64})
)
ORDER BY incident_id
LIMIT {limit:UInt32}
"""

#: tenant, incident_id, since (when it opened), limit -> how many of its keys fire on (their newest alert is no
#: resolve), and the links of its alerts, each a JSON list of href and text
ALERTS_IN_SHORT = """
SELECT countIf(last = 'trigger') AS firing, groupUniqArrayArray({limit:UInt32})(links) AS links
FROM (
    SELECT fingerprint, argMax(toString(action), received_at) AS last,
        groupUniqArrayIf(5)(alerts.links, alerts.links != '') AS links
    FROM alerts
    WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID} AND action != 'acknowledge'
        AND received_at >= fromUnixTimestamp64Milli({since:Int64})
    GROUP BY fingerprint
)
"""

#: tenant, incident_id, limit -> the attempts to tell of it, and the reasons for none, the latest first
DELIVERIES_OF_INCIDENT = """
SELECT notification_id, incident_id, destination, channel, transition, attempt, queued_at, sent_at, finished_at,
    outcome, http_status, error
FROM deliveries FINAL
WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
ORDER BY finished_at DESC, notification_id, attempt DESC
LIMIT {limit:UInt32}
"""

#: tenant, incident_id, since (when it opened), until, limit -> the alerts of its keys in each minute, with all repeats;
#: the latest minutes, in order
ACTIVITY_OF_INCIDENT = """
SELECT at, alerts
FROM (
    SELECT toStartOfMinute(received_at) AS at, count() AS alerts
    FROM alerts
    WHERE tenant = {tenant:String} AND action = 'trigger'
        AND received_at >= fromUnixTimestamp64Milli({since:Int64})
        AND received_at <= fromUnixTimestamp64Milli({until:Int64})
        AND fingerprint IN (
            SELECT fingerprint FROM alerts
            WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
                AND received_at >= fromUnixTimestamp64Milli({since:Int64})
        )
    GROUP BY at
    ORDER BY at DESC
    LIMIT {limit:UInt32}
)
ORDER BY at
"""

#: tenant, incident_id, service, dedup_key, title, since, until (when it opened), limit -> incidents of its service from
#: before with the same key, or with a title that is the same but for numbers, or alike; `note` is the last one that a
#: person wrote on it
SIMILAR_INCIDENTS = """
SELECT incident_id, toString(status) AS status, toString(severity) AS severity, service, title, opened_at, resolved_at,
    multiIf(dedup_key = {dedup_key:String}, 'key', template = replaceRegexpAll({title:String}, '[0-9]+', '0'), 'text',
        'alike') AS why, last_note AS note
FROM (
    SELECT *, replaceRegexpAll(title, '[0-9]+', '0') AS template,
        ngramDistanceUTF8(template, replaceRegexpAll({title:String}, '[0-9]+', '0')) AS distance
    FROM incidents FINAL
    WHERE tenant = {tenant:String} AND service = {service:String} AND incident_id != {incident_id:UUID}
        AND opened_at >= fromUnixTimestamp64Milli({since:Int64})
        AND opened_at <= fromUnixTimestamp64Milli({until:Int64})
) AS past
LEFT JOIN (
    SELECT incident_id, argMax(note, version) AS last_note
    FROM incident_events
    WHERE tenant = {tenant:String} AND note != '' AND actor NOT IN ('stream', 'stormweir') AND kind != 'merged'
        AND at >= fromUnixTimestamp64Milli({since:Int64})
    GROUP BY incident_id
) AS noted USING (incident_id)
WHERE why != 'alike' OR distance < 0.3
ORDER BY why = 'key' DESC, distance, opened_at DESC
LIMIT {limit:UInt32}
"""

#: tenant -> for each integration, by its shown key: when it last sent an alert and how many in a day, and when and why
#: something of it was last refused; of the last seven days
INTEGRATION_USE = """
SELECT integration, max(sent) AS last_alert_at, sum(count) AS alerts_24h,
    max(refused) AS last_refused_at, argMax(why, refused) AS reason
FROM (
    SELECT integration, max(received_at) AS sent, countIf(received_at > now() - INTERVAL 1 DAY) AS count,
        toDateTime64(0, 3, 'UTC') AS refused, '' AS why
    FROM alerts
    WHERE tenant = {tenant:String} AND received_at > now() - INTERVAL 7 DAY
    GROUP BY integration
    UNION ALL
    SELECT integration, toDateTime64(0, 3, 'UTC'), 0, max(at), argMax(reason, at)
    FROM rejections
    WHERE tenant = {tenant:String} AND at > now() - INTERVAL 7 DAY
    GROUP BY integration
)
GROUP BY integration
ORDER BY integration
"""

#: tenant -> how many incidents are open by service and severity
OPEN_BY_SERVICE = """
SELECT service, toString(severity) AS severity, count() AS count
FROM incidents FINAL
WHERE tenant = {tenant:String} AND status != 'resolved'
GROUP BY service, severity
ORDER BY service, severity
"""

#: tenant, since, until, before (milliseconds and the event id of the last row of the page before), service, outcome and
#: text ("" for any), limit -> alerts, the newest first
ALERTS_PAGE = """
SELECT event_id, received_at, provider, integration, service, toString(severity) AS severity,
    toString(action) AS action, toString(outcome) AS outcome, incident_id, dedup_key, summary, source, labels, rule
FROM alerts
WHERE tenant = {tenant:String} AND alerts.received_at >= fromUnixTimestamp64Milli({since:Int64})
    AND alerts.received_at < fromUnixTimestamp64Milli({until:Int64})
    AND (alerts.received_at, event_id) < (fromUnixTimestamp64Milli({before:Int64}), {before_id:UUID})
    AND ({service:String} = '' OR service = {service:String})
    AND ({outcome:String} = '' OR toString(alerts.outcome) = {outcome:String})
    AND ({text:String} = '' OR positionCaseInsensitiveUTF8(summary, {text:String}) > 0
        OR positionCaseInsensitiveUTF8(dedup_key, {text:String}) > 0)
ORDER BY alerts.received_at DESC, event_id DESC
LIMIT {limit:UInt32}
"""

#: tenant, since, until -> for each hour: alerts, incidents opened, and messages that say that something is wrong
VOLUMES = """
SELECT hour, sum(alerts) AS alerts, sum(incidents) AS incidents, sum(pages) AS pages
FROM (
    SELECT toStartOfHour(received_at) AS hour, count() AS alerts, countIf(outcome = 'opened') AS incidents, 0 AS pages
    FROM alerts
    WHERE tenant = {tenant:String} AND received_at >= fromUnixTimestamp64Milli({since:Int64})
        AND received_at < fromUnixTimestamp64Milli({until:Int64})
    GROUP BY hour
    UNION ALL
    SELECT toStartOfHour(queued_at) AS hour, 0, 0, count()
    FROM deliveries FINAL
    WHERE tenant = {tenant:String} AND queued_at >= fromUnixTimestamp64Milli({since:Int64})
        AND queued_at < fromUnixTimestamp64Milli({until:Int64}) AND outcome = 'delivered'
        AND transition IN ('triggered', 'escalated', 'reminder', 'sla_breach')
    GROUP BY hour
)
GROUP BY hour
ORDER BY hour
"""

#: tenant, since, until -> for each service: incidents that opened, and the mean seconds until people acknowledged them
#: and until they resolved
RESPONSE = """
SELECT service, count() AS incidents,
    avgIf(dateDiff('second', opened_at, acknowledged_at), acknowledged_at > opened_at) AS mtta_s,
    avgIf(dateDiff('second', opened_at, resolved_at), resolved_at > opened_at) AS mttr_s
FROM incidents FINAL
WHERE tenant = {tenant:String} AND opened_at >= fromUnixTimestamp64Milli({since:Int64})
    AND opened_at < fromUnixTimestamp64Milli({until:Int64})
GROUP BY service
ORDER BY incidents DESC, service
LIMIT 100
"""

#: tenant, since, until -> for each destination: messages that say that something is wrong, and those between 22:00 and
#: 08:00 UTC, the hours of a night in every report
PAGES_BY_DESTINATION = """
SELECT destination, count() AS pages, countIf(toHour(queued_at) >= 22 OR toHour(queued_at) < 8) AS at_night
FROM deliveries FINAL
WHERE tenant = {tenant:String} AND queued_at >= fromUnixTimestamp64Milli({since:Int64})
    AND queued_at < fromUnixTimestamp64Milli({until:Int64}) AND outcome = 'delivered'
    AND transition IN ('triggered', 'escalated', 'reminder', 'sla_breach')
GROUP BY destination
ORDER BY pages DESC, destination
LIMIT 100
"""

#: tenant -> the heartbeats that are missing, and since when
MISSING_HEARTBEATS = """
SELECT service, dedup_key, min(opened_at) AS opened_at
FROM incidents FINAL
WHERE tenant = {tenant:String} AND status != 'resolved' AND startsWith(dedup_key, 'heartbeat/')
GROUP BY service, dedup_key
ORDER BY service, dedup_key
"""
