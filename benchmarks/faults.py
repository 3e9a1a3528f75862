"""Kill what can be killed under load, then prove that nothing was lost or doubled: `python -m benchmarks.faults`.

Three acts, each a storm over HTTP at 2,000 alerts a second whose senders retry what was refused:
processes killed with SIGKILL at random; the broker killed and started again; ClickHouse away for a while.
After each: every accepted alert is in ClickHouse exactly once, no key has two open incidents, every
incident was notified, a notification repeats only under its own id, and all is drained within 120 s.
"""

import argparse
import asyncio
import ipaddress
import random
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from schemas.settings import Settings
from sinks.clickhouse.client import ClickHouse
from streams.embedded.stack import PROCESSES, Stack
from streams.storm.play import Plan, play, prepare
from streams.storm.shapes import Size

VICTIMS = ("gateway", "worker", "writer", "notifier", "clickhouse")
RATE = 2_000.0
SERVICES = 20
DRAIN_S = 120.0
#: The share of alerts with a new key; the rest are repeats.
NEW = 0.4


@dataclass
class Verdict:
    """One act: the kills by process, the counts of the storm, and every broken promise."""

    act: str
    kills: dict[str, int] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class Faults:
    """A stack that runs the acts: each loads it and meanwhile kills a part of it."""

    def __init__(self, settings: Settings, seed: int, progress: Callable[[str], None]) -> None:
        self._settings = settings
        self._progress = progress
        self._random = random.Random(seed)
        self._seed = seed
        self._stack = Stack(settings, progress, processes=("receiver", *PROCESSES))
        self._clickhouse = ClickHouse(settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database)

    async def __aenter__(self) -> "Faults":
        assert await self._stack.start() == [], "a process does not start"
        try:
            await prepare(self._settings, SERVICES, gateway=True)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clickhouse.close()
        await self._stack.stop()

    async def killed_processes(self, kills: int) -> Verdict:
        """SIGKILL a random process every one to four seconds."""

        async def fault(verdict: Verdict) -> None:
            for _ in range(kills):
                await asyncio.sleep(self._random.uniform(1, 4))
                name = self._random.choice(VICTIMS)
                if name in self._stack.pids:
                    self._stack.kill(name)
                    verdict.kills[name] = verdict.kills.get(name, 0) + 1

        return await self._act(f"{kills} kills", kills * 2.6 + 3, fault)

    async def killed_broker(self, times: int, away: float) -> Verdict:
        """SIGKILL Kafka, keep it down for `away` seconds, start it again; `times` times."""

        async def fault(verdict: Verdict) -> None:
            for _ in range(times):
                await asyncio.sleep(3)
                self._stack.kill("kafka", hold=True)
                verdict.kills["kafka"] = verdict.kills.get("kafka", 0) + 1
                await asyncio.sleep(away)
                await self._stack.resume("kafka")

        return await self._act(f"broker killed {times}x, {away:.0f} s away", times * (away + 8), fault)

    async def away_clickhouse(self, away: float) -> Verdict:
        """SIGKILL ClickHouse and keep it down for `away` seconds; notifications must go on meanwhile."""

        async def fault(verdict: Verdict) -> None:
            await asyncio.sleep(2)
            self._stack.kill("clickhouse", hold=True)
            verdict.kills["clickhouse"] = 1
            before = len(self._received())
            await asyncio.sleep(away)
            if len(self._received()) == before:
                verdict.broken.append("no notification was delivered while ClickHouse was away")
            await self._stack.resume("clickhouse")

        return await self._act(f"ClickHouse away {away:.0f} s", away + 6, fault)

    async def _act(self, name: str, seconds: float, fault: Callable[[Verdict], Coroutine[Any, Any, None]]) -> Verdict:
        verdict = Verdict(name)
        self._progress(f"-- {name}: {RATE:.0f} alerts/s for {seconds:.0f} s")
        alerts = int(RATE * seconds)
        self._seed += 1
        size = Size(alerts, int(alerts * NEW), SERVICES, self._seed)
        plan = Plan(shape="storm", size=size, via="http", connections=32, rate=RATE, retry=True)
        receiver_before = len(self._received())
        faulting = asyncio.create_task(fault(verdict))

        async def query(sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
            await faulting
            return await self._clickhouse.query(sql, params)

        summary = await play(self._settings, [plan], query, DRAIN_S, lambda *_: None)
        await faulting
        verdict.result = summary.json()
        verdict.broken += summary.problems
        verdict.broken += await self._broken_incidents(size)
        kills, incidents = sum(verdict.kills.values()), verdict.result["incidents"]
        verdict.broken += self._broken_notifications(receiver_before, kills, incidents)
        wait = summary.seconds - summary.send_seconds
        if wait > DRAIN_S:
            verdict.broken.append(f"drained only after {wait:.0f} s")
        self._progress(
            f"   {verdict.result.get('accepted')} accepted, drained in {wait:.1f} s, broken: {verdict.broken}"
        )
        return verdict

    async def _broken_incidents(self, size: Size) -> list[str]:
        (row,) = await self._clickhouse.query(
            "SELECT count() AS incidents, uniqExact(correlation_key) AS keys, (SELECT uniqExact(fingerprint)"
            " FROM alerts WHERE dedup_key LIKE {seed:String}) AS fingerprints"
            " FROM incidents FINAL WHERE dedup_key LIKE {seed:String}",
            {"seed": f"%{size.seed}%"},
        )
        incidents, keys, fingerprints = row["incidents"], row["keys"], row["fingerprints"]
        broken = []
        if incidents != keys:
            broken.append(f"{incidents - keys} duplicate incidents")
        if keys != fingerprints:
            broken.append(f"{fingerprints} keys fired, {keys} have an incident")
        return broken

    def _broken_notifications(self, start: int, kills: int, incidents: int) -> list[str]:
        """Broken promises: repeats come only under the same id and at most once per kill; each incident is notified."""
        ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        times: Counter[str] = Counter()
        for line in self._received()[start:]:
            ids[line["incident"], line["event"]].add(line["id"])
            times[line["id"]] += 1
        broken = []
        told = len({incident for incident, event in ids if event == "incident.triggered"})
        if told != incidents:
            broken.append(f"{incidents} incidents, {told} were told")
        if many := sum(len(each) > 1 for each in ids.values()):
            broken.append(f"{many} transitions were told under several ids")
        if often := sum(count - 1 > kills for count in times.values()):
            broken.append(f"{often} notifications were repeated more often than something was killed")
        self._progress(f"   {len(times)} notifications, {sum(times.values()) - len(times)} repeats under the same id")
        return broken

    def _received(self) -> list[dict[str, str]]:
        journal = self._settings.data_dir / "receiver.jsonl"
        if not journal.exists():
            return []
        lines = [orjson.loads(line) for line in journal.read_bytes().splitlines() if line.endswith(b"}")]
        return [
            {"id": line["id"], "event": line["event"], "incident": str(line.get("incident_id") or line.get("incident"))}
            for line in lines
        ]


async def run(data_dir: Path, port_base: int, kills: int, away: float, broker: int, seed: int) -> list[Verdict]:
    """Run all three acts on a fresh stack; without the second if `broker`, the number of its kills, is 0."""
    shutil.rmtree(data_dir, ignore_errors=True)
    settings = Settings(data_dir=data_dir, port_base=port_base, allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),))
    async with Faults(settings, seed, lambda line: print(line, flush=True)) as faults:
        verdicts = [await faults.killed_processes(kills)]
        if broker:
            verdicts.append(await faults.killed_broker(broker, min(away, 10.0)))
        verdicts.append(await faults.away_clickhouse(away))
        return verdicts


def main() -> int:
    """Run the command. Returns 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--away", type=float, default=60.0, help="seconds ClickHouse is away")
    parser.add_argument("--broker", type=int, default=2, help="how often the broker is killed")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000 * 1000)
    parser.add_argument("--port-base", type=int, default=8700)
    parser.add_argument("--json", type=Path, default=Path("var/faults.json"))
    arguments = parser.parse_args()
    started = time.monotonic()
    verdicts = asyncio.run(
        run(Path("var/faults"), arguments.port_base, arguments.kills, arguments.away, arguments.broker, arguments.seed)
    )
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_bytes(orjson.dumps([vars(verdict) for verdict in verdicts], option=orjson.OPT_INDENT_2))
    broken = [f"{verdict.act}: {line}" for verdict in verdicts for line in verdict.broken]
    print(f"seed {arguments.seed}, {time.monotonic() - started:.0f} s, details in {arguments.json}")
    print("\n".join(broken) if broken else "every promise held")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
