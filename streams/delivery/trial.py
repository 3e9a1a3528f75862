"""The test of an integration: sends one marked alert through the whole pipeline, and resolves it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from schemas.control import Integration, masked_key
from schemas.settings import Settings
from schemas.wire.alert import Severity
from schemas.wire.notification import Outcome, Transition
from sinks.clickhouse.client import ClickHouse, ClickHouseError
from streams.control import catalogue
from streams.control.catalogue import Request
from streams.control.state import Control
from streams.control.trial import Probe
from streams.policy.audience import Audience
from streams.providers import PROVIDERS, Example

Rows = Sequence[Mapping[str, Any]]

_NO_INCIDENT = "00000000-0000-0000-0000-000000000000"
#: The gateway's clock may differ from ours by this much.
_SKEW_MS = 600_000
#: A gateway knows a new key within a second.
_NEW_KEY_S = 3.0
_PAUSE_S = 0.2
_VERDICT_S = 5
_ENDED = {Outcome.DELIVERED, Outcome.FAILED, Outcome.SUPPRESSED}

_ALERTS = """
SELECT toString(action) AS action, toString(outcome) AS outcome, toString(severity) AS severity, summary, rule,
    toString(incident_id) AS incident_id
FROM alerts
WHERE tenant = {tenant:String} AND service = {service:String} AND dedup_key = {dedup_key:String}
    AND received_at >= fromUnixTimestamp64Milli({since:Int64})
"""
_INCIDENT = """
SELECT toString(status) AS status FROM incidents FINAL
WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
"""
_DELIVERIES = """
SELECT destination, channel, transition, attempt, outcome, http_status, error FROM deliveries FINAL
WHERE tenant = {tenant:String} AND incident_id = {incident_id:UUID}
    AND queued_at >= fromUnixTimestamp64Milli({since:Int64})
ORDER BY queued_at, destination, attempt
"""
_DEAD_LETTERS = """
SELECT stage, reason, error FROM dead_letters FINAL
WHERE at >= fromUnixTimestamp64Milli({since:Int64}) AND position(body, {mark:String}) > 0
"""


class TrialError(Exception):
    """A step failed; the message says which step, and where to look."""


@dataclass(slots=True)
class Report:
    """The result of a test alert. It is `ok` if everything happened that should have."""

    integration: str
    type: str
    tenant: str
    service: str
    dedup_key: str
    summary: str
    outcome: str = ""
    rules: list[str] = field(default_factory=list)
    incident_id: str = ""
    incident_status: str = ""
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not self.problems


class Trial:
    """One test of one integration. `wait_s` bounds each step, `say` is called when a step is done.

    `mark` is the number that makes the probe different from any other: its time, in milliseconds.
    """

    def __init__(
        self,
        settings: Settings,
        control: Control,
        integration: Integration,
        probe: Probe,
        mark: int,
        wait_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._url = settings.public_url
        self._clickhouse_url = settings.clickhouse_url
        self._clickhouse = ClickHouse(settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database)
        self._control = control
        self._integration = integration
        self._probe = probe
        self._wait_s = wait_s
        self._say = say
        self._refused = False
        self._params: dict[str, object] = {
            "tenant": integration.tenant,
            "service": integration.service,
            "dedup_key": probe.draft.dedup_key,
            "since": mark - _SKEW_MS,
            "mark": str(mark),
        }
        self._report = Report(
            masked_key(integration.id),
            integration.type,
            integration.tenant,
            integration.service,
            probe.draft.dedup_key,
            probe.draft.summary,
        )

    async def run(self) -> Report:
        """Send, look, resolve. An alert that may have been stored is resolved, whatever happens in between."""
        async with self._clickhouse, aiohttp.ClientSession() as self._http:
            try:
                with self._noted():
                    await self._follow(await self._post(self._request(self._integration.type, self._probe.example)))
            finally:
                if not self._refused:
                    with self._noted():
                        await self._resolve()
        return self._report

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except TrialError as error:
            self._report.problems.append(str(error))

    def _request(self, slug: str, example: Example) -> Request:
        secret = self._integration.signature_secret
        return catalogue.request(PROVIDERS[slug], self._url, self._integration.id, example, secret, time.time())

    async def _post(self, request: Request) -> bool:
        """Post the request; returns whether the worker judged it in time. Raises TrialError if it was not accepted."""
        place = request.url.partition("?")[0]
        started = time.monotonic()
        while True:
            status, said, retry_after = await self._answer(request, place)
            if status == 202:
                return "deduplicated" in said
            left = started + self._wait_s - time.monotonic()
            if status == 401 and "reason" not in said:
                left, retry_after = min(left, started + _NEW_KEY_S - time.monotonic()), retry_after or _PAUSE_S
            if not retry_after or retry_after > left:
                self._refused = True
                words = [str(said[name]) for name in ("error", "reason") if name in said]
                words += [f"send again after {retry_after:.0f} s"] * (status in (429, 503))
                told = "; ".join(words) or "no answer of Stormweir's"
                raise TrialError(f"{place} answered {status}: {told}. docs/errors.md says what to do")
            await asyncio.sleep(retry_after)

    async def _answer(self, request: Request, place: str) -> tuple[int, dict[str, Any], float]:
        """Status, the JSON object, and the seconds of Retry-After."""
        headers = {**request.headers, "prefer": f"wait={_VERDICT_S}"}
        timeout = aiohttp.ClientTimeout(total=_VERDICT_S + self._wait_s)
        try:
            async with self._http.post(
                request.url, data=request.body, headers=headers, allow_redirects=False, timeout=timeout
            ) as answer:
                status, body, retry_after = answer.status, await answer.read(), answer.headers.get("retry-after", "")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._refused = isinstance(error, aiohttp.ClientConnectorError)  # otherwise the alert may be stored
            raise TrialError(
                f"{place} cannot be reached ({type(error).__name__}): is `stormweir gateway` running, "
                "and STORMWEIR_BASE_URL its address?"
            ) from None
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            said = {}
        return status, said if isinstance(said, dict) else {}, float(retry_after) if retry_after.isdecimal() else 0.0

    async def _follow(self, judged: bool) -> None:
        """Look for the alert, its incident, and the deliveries."""
        report = self._report
        self._say(f"accepted by the gateway, as {report.dedup_key}")
        rows = await self._until(_ALERTS, bool)
        if not rows:
            report.dead_letters = await self._rows(_DEAD_LETTERS)
            raise TrialError(self._missing(judged))
        alert = rows[0]
        report.outcome, report.rules = alert["outcome"], [rule for rule in alert["rule"].split(",") if rule]
        self._say(f"{report.outcome}, severity {alert['severity']}, rules: {', '.join(report.rules) or 'none'}")
        if alert["incident_id"] == _NO_INCIDENT:
            return
        report.incident_id = self._params["incident_id"] = alert["incident_id"]
        if not await self._until(_INCIDENT, bool):
            raise TrialError("its incident is not in ClickHouse: look at `stormweir writer`")
        self._say(f"incident {report.incident_id}")
        if report.outcome == "opened":
            await self._told(Severity[alert["severity"].upper()])

    def _missing(self, judged: bool) -> str:
        if self._report.dead_letters:
            letter = self._report.dead_letters[0]
            return f"it is a dead letter of {letter['stage']}: {letter['reason']}, {letter['error']}"
        late = f"accepted, but not in ClickHouse after {self._wait_s:g} s"
        if judged:
            return f"{late}. The worker knows what became of it: look at `stormweir writer`"
        return f"{late}, and the worker has not judged it: look at `stormweir worker`, then at `stormweir writer`"

    async def _told(self, severity: Severity) -> None:
        """Wait until each destination of the alert was notified, or is known not to be."""
        report, tenant, control = self._report, self._integration.tenant, self._control
        rules = [control.rules.get((tenant, rule)) for rule in report.rules]
        routes = [destination for rule in rules if rule is not None for destination in rule.route]
        audience = Audience(control.tenants.values(), control.services.values(), control.rules.values())
        wanted = set(audience.destinations(tenant, self._integration.service, severity, routes))
        if not wanted:
            reason = audience.nobody(tenant, severity)
            self._say(f"nothing routes it, so nobody is told{f': {reason}' if reason else ''}")
            return

        def done(rows: Rows) -> bool:
            return wanted <= {row["destination"] for row in rows if row["outcome"] in _ENDED}

        rows = await self._until(_DELIVERIES, done)
        last = {row["destination"]: row for row in rows if row["transition"] == Transition.TRIGGERED}
        for destination in sorted(wanted):
            row = last.get(destination)
            if row is None:
                late = f"{destination}: nothing was delivered within {self._wait_s:g} s"
                report.problems.append(f"{late}. It may be tried again; if not, look at `stormweir notifier`")
                continue
            told = f"{destination}: {row['outcome']} {row['error']}".rstrip()
            self._say(told)
            if row["outcome"] in (Outcome.FAILED, Outcome.RETRY):
                report.problems.append(f"{told}, attempt {row['attempt']}, status {row['http_status'] or 'none'}")

    async def _resolve(self) -> None:
        """Resolve the alert by the Events API: it takes any integration's key, and some formats have no resolve."""
        report = self._report
        event = {"event_action": "resolve", "dedup_key": report.dedup_key}
        try:
            await self._post(self._request("events_v2", Example(orjson.dumps(event), ())))
        except TrialError as error:
            raise TrialError(f"{report.dedup_key} stays open, its resolve was not taken: {error}") from None
        if not report.outcome:
            return  # the reason is reported already, and nothing more can be found out
        rows = await self._until(_ALERTS, lambda rows: any(row["action"] == "resolve" for row in rows))
        if not any(row["action"] == "resolve" for row in rows):
            raise TrialError(f"its resolve is accepted, but not in ClickHouse after {self._wait_s:g} s")
        if not report.incident_id:
            return
        opened = report.outcome == "opened"
        states = await self._until(_INCIDENT, lambda rows: not opened or [*rows] == [{"status": "resolved"}])
        report.incident_status = states[0]["status"] if states else ""
        report.deliveries = await self._rows(_DELIVERIES)
        report.dead_letters = await self._rows(_DEAD_LETTERS)
        if opened and report.incident_status != "resolved":
            raise TrialError(f"its incident {report.incident_id} is still {report.incident_status or 'unknown'}")
        self._say("resolved" if opened else f"resolved; the incident it had joined is {report.incident_status}")

    async def _until(self, sql: str, done: Callable[[Rows], bool]) -> Rows:
        """The rows as soon as they are `done`, or as they are when the time is over. Raises TrialError."""
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                rows: Rows = await self._rows(sql)
            except TrialError:
                if time.monotonic() > deadline:
                    raise
            else:
                if done(rows) or time.monotonic() > deadline:
                    return rows
            await asyncio.sleep(_PAUSE_S)

    async def _rows(self, sql: str) -> list[dict[str, Any]]:
        try:
            named = {name: value for name, value in self._params.items() if f"{{{name}:" in sql}
            return await self._clickhouse.query(sql, named)
        except ClickHouseError as error:
            raise TrialError(f"ClickHouse at {self._clickhouse_url} does not answer: {error}") from None
