"""The cost of a request by provider: reading its body, and the whole gateway without HTTP server and Kafka.

It times Python code in one process, on the providers' own examples. `decode_us` is the gateway's work on a body,
`drafts_us` normalize's (decode and parse), `gateway_us` the work of the whole gateway from the checks of a request
to its record; the broker is simulated and acknowledges at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from benchmarks.process import ContenderError, median
from benchmarks.report import Progress, Run
from schemas.control import FieldMapping, Integration, Service, control_key, dump
from schemas.fingerprint import digest, uuid7
from schemas.wire.alert import RawEvent
from streams.control.state import Control
from streams.gateway.app import Gateway
from streams.gateway.body import Reader
from streams.gateway.commands import Commands
from streams.gateway.lanes import Lanes
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.rejections import Rejections
from streams.gateway.sns import Sns
from streams.gateway.verdicts import Verdicts
from streams.process.kafka import Kafka
from streams.providers import PATH, PROVIDERS, QUERY, Context, Example, Provider

#: The shortest duration of one timing, seconds; the fastest of several timings is the result.
_LEAST_S = 0.02
_MAPPING = FieldMapping()


def measure(rounds: int, progress: Progress) -> list[Run]:
    """One run for each provider that gives alerts; its figures are means over the provider's examples."""
    runs: list[Run] = []
    for provider in PROVIDERS.values():
        if examples := [example for example in provider.examples if example.alerts]:
            figures = [_costs(provider, example, rounds) for example in examples]
            means = {name: round(sum(each[name] for each in figures) / len(figures), 1) for name in figures[0]}
            runs.append({"part": "providers", "provider": provider.slug, "examples": len(examples), **means})
            progress(f"{provider.slug}: decode {means['decode_us']} us, gateway {means['gateway_us']} us a request")
    return runs


def summary(runs: list[Run]) -> dict[str, float]:
    """The median and the maximum of all providers; empty when this part was not measured."""
    costs = [run["decode_us"] for run in runs if run["part"] == "providers"]
    return {"provider_decode_us": median(costs), "provider_decode_most_us": max(costs)} if costs else {}


def _costs(provider: Provider[Any], example: Example, rounds: int) -> dict[str, float]:
    context = Context(uuid7(), example.headers, _MAPPING)
    raw = RawEvent("default", "bench", _key(provider), provider.slug, uuid7(), 1, example.body, dict(example.headers))
    return {
        "bytes": len(example.body),
        "alerts": len(example.alerts),
        "decode_us": _least_us(lambda: provider.decode(example.body, context), rounds),
        "drafts_us": _least_us(lambda: provider.drafts(raw, _MAPPING), rounds),
        "gateway_us": asyncio.run(_gateway_us(provider, example, rounds)),
    }


def _least_us(call: Callable[[], object], rounds: int) -> float:
    """Microseconds of one call, in the fastest timing."""
    times = 1
    while (took := _seconds(call, times)) < _LEAST_S:
        times *= 2
    return min(took, *(_seconds(call, times) for _ in range(rounds))) / times * 1e6


def _seconds(call: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started


async def _gateway_us(provider: Provider[Any], example: Example, rounds: int) -> float:
    gateway, exchange = _gateway(provider), _Exchange(example.body)
    scope = _Scope(provider, example)
    await gateway.__rsgi__(scope, exchange)
    if not 200 <= exchange.status < 300:
        raise ContenderError(f"{provider.slug}: the gateway answers {exchange.status}")
    times, taken = 1, 0.0
    while taken < _LEAST_S:
        times *= 2
        taken = await _requests(gateway, scope, exchange, times)
    return min([taken, *[await _requests(gateway, scope, exchange, times) for _ in range(rounds)]]) / times * 1e6


async def _requests(gateway: Gateway, scope: "_Scope", exchange: "_Exchange", times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        await gateway.__rsgi__(scope, exchange)
    return time.perf_counter() - started


def _gateway(provider: Provider[Any]) -> Gateway:
    control = Control()
    service = Service(id="bench")
    sender = Integration(
        id=_key(provider), name="bench", type=provider.slug, service=service.id, rate_limit="unlimited", signature="off"
    )
    for record in (service, sender):
        control.apply(control_key(record), dump(record))
    lanes = cast(Lanes, _Lanes())
    nowhere = Kafka("127.0.0.1:1")
    verdicts = Verdicts(nowhere)
    return Gateway(
        control,
        lanes,
        lanes,
        verdicts,
        Commands(nowhere, verdicts),
        Sns(_Away()),
        Reader(1_048_576),
        Rejections(nowhere),
        GatewayMetrics(),
        b"{}",
        {},
    )


def _key(provider: Provider[Any]) -> str:
    return digest("stormweir benchmarks", provider.slug).hex()


class _Lanes:
    """A simulated Kafka that acknowledges at once."""

    def put(self, key: bytes, value: bytes, at: int, headers: object = None) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class _Away:
    """An HTTP client that must not be used: integrations that need no signature fetch nothing."""

    async def get(self, url: str) -> Any:
        raise AssertionError(url)


class _Scope:
    """A request as the HTTP server passes it to the gateway."""

    def __init__(self, provider: Provider[Any], example: Example) -> None:
        headers = {name: value for name, value in example.headers.items() if name not in (QUERY, PATH)}
        self.headers = {"content-length": str(len(example.body)), "content-type": "application/json", **headers}
        self.method = "POST" if "POST" in provider.methods else provider.methods[0]
        self.path = f"/api/integrations/{provider.slug}"
        if PATH in example.headers:  # the vendor's own path, with the key in a header
            self.path = example.headers[PATH]
            name, _, scheme = provider.addresses[0][1].partition(": ")
            self.headers[name.lower()] = f"{scheme}{_key(provider)}"
        query = f"integrationId={_key(provider)}"
        self.query_string = f"{query}&{example.headers[QUERY]}" if QUERY in example.headers else query


class _Exchange:
    """The exchange of a request: it returns the body at once and keeps the answer's status."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 0

    async def __call__(self) -> bytes:
        return self._body

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("the length is known")

    def response_bytes(self, status: int, headers: object, body: bytes) -> None:
        self.status = status
