"""What a storm is made of: seeded sequences of alerts. Same arguments, same alerts; no clock, no I/O."""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import NamedTuple

from schemas.wire.alert import Action, Severity

#: Share of all alerts that the hot key of `hot-key` takes.
HOT_SHARE = 0.9

_FAULTS = (
    ("link down", Severity.CRITICAL),
    ("packet loss above 5 %", Severity.ERROR),
    ("latency above 500 ms", Severity.WARNING),
    ("disk 91 % full", Severity.WARNING),
    ("health check failed", Severity.ERROR),
    ("certificate expires in 14 days", Severity.INFO),
)


class Spec(NamedTuple):
    """One alert before it has a wire format. `n` counts from 0; `service` is an index from 0."""

    n: int
    service: int
    dedup_key: str
    action: Action
    severity: Severity
    summary: str


class Size(NamedTuple):
    """How large a storm is: `alerts` in all, of `keys` distinct keys, over `services` services."""

    alerts: int
    keys: int
    services: int
    seed: int


Shape = Callable[[Size], Iterator[Spec]]


def specs(shape: str, size: Size) -> Iterator[Spec]:
    """The alerts of a named shape, in the order they are sent.

    Keys contain the seed, so a new seed makes new keys, and `resolve-wave` resolves what the other shapes of the same
    seed opened. Raises ValueError for an unknown shape or a size below 1.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape {shape!r} is not one of {', '.join(SHAPES)}")
    for name in ("alerts", "keys", "services"):
        if getattr(size, name) < 1:
            raise ValueError(f"{name} must be at least 1")
    return SHAPES[shape](size)


def _storm(size: Size) -> Iterator[Spec]:
    """Every key once, then keys at random: the second and later alert of a key is a repeat."""
    random = Random(size.seed)  # noqa: S311 (repeatable is the point)
    for n in range(size.alerts):
        yield _spec(n, n if n < size.keys else int(random.random() * size.keys), Action.TRIGGER, size)


def _unique(size: Size) -> Iterator[Spec]:
    """A new key with every alert."""
    for n in range(size.alerts):
        yield _spec(n, n, Action.TRIGGER, size)


def _hot_key(size: Size) -> Iterator[Spec]:
    """One key takes 90 % of all alerts, the rest is spread over the others."""
    random = Random(size.seed)  # noqa: S311 (repeatable is the point)
    for n in range(size.alerts):
        cold = 1 + int(random.random() * (size.keys - 1)) if size.keys > 1 else 0
        yield _spec(n, 0 if random.random() < HOT_SHARE else cold, Action.TRIGGER, size)


def _flapping(size: Size) -> Iterator[Spec]:
    """Triggers every key in turn, then resolves every key, and so on."""
    for n in range(size.alerts):
        action = Action.RESOLVE if n // size.keys % 2 else Action.TRIGGER
        yield _spec(n, n % size.keys, action, size)


def _resolve_wave(size: Size) -> Iterator[Spec]:
    """One resolve for every key; `alerts` does not matter."""
    for n in range(size.keys):
        yield _spec(n, n, Action.RESOLVE, size)


SHAPES: Mapping[str, Shape] = {
    "storm": _storm,
    "unique": _unique,
    "hot-key": _hot_key,
    "flapping": _flapping,
    "resolve-wave": _resolve_wave,
}


def _spec(n: int, key: int, action: Action, size: Size) -> Spec:
    fault, severity = _FAULTS[key % len(_FAULTS)]
    return Spec(
        n,
        key % size.services,
        f"storm-{size.seed}-{key}",
        action,
        severity,
        f"Port {key % 48} of switch sw-{key // 48:04d}: {fault}",
    )
