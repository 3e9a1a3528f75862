"""What a provider is: the shapes that the gateway, the normalize stage and every provider share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import msgspec

from schemas.alert import Action, RawEvent, Severity
from schemas.control import FieldMapping
from schemas.fingerprint import digest

#: PagerDuty's limits, which everyone keeps: longer summaries are cut, longer keys hashed.
SUMMARY_LIMIT = 1024
DEDUP_KEY_LIMIT = 255
SUMMARY_CUT = "summary_truncated"

T = TypeVar("T")


class BadBody(ValueError):  # noqa: N818 - it is the body that is bad
    """A body that its provider would not send. `path` is the field, dotted (`alerts.0.status`), or `body`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Draft(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One alert as its provider tells it: the fields of `schemas.alert.Alert` without identity and origin.

    `summary` has at most 1024 characters (a cut one is marked by the label `summary_truncated`),
    `dedup_key` 1 to 255; `details` is JSON text or empty; times are milliseconds UTC, 0 for none.
    """

    dedup_key: str
    action: Action
    severity: Severity
    summary: str
    source: str
    component: str = ""
    group: str = ""
    class_: str = ""
    labels: dict[str, str] = {}
    details: bytes = b""
    links: list[dict[str, str]] = []
    starts_at: int = 0
    ends_at: int = 0


class Context(NamedTuple):
    """What a provider may know besides the body. `headers` are those it lists, names in lower case."""

    event_id: bytes
    headers: Mapping[str, str]
    mapping: FieldMapping


class Example(NamedTuple):
    """A body as the vendor sends it, and the (action, dedup key) of each alert in it."""

    body: bytes
    alerts: tuple[tuple[Action, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Generic[T]):
    """Everything about one sender of alerts.

    `decode` validates a body and raises nothing but BadBody; `parse` is pure and never fails on what
    `decode` returned; `order_key` names what must stay in order: the dedup key of a single event,
    the group of a `batch` (one request, many alerts). `slug` is its name in URLs, records and files, for ever.
    """

    slug: str
    title: str
    docs_url: str
    decode: Callable[[bytes, Context], T]
    parse: Callable[[T, Context], list[Draft]]
    order_key: Callable[[T, Context], str]
    headers: tuple[str, ...] = ()
    batch: bool = False
    examples: tuple[Example, ...] = ()

    def drafts(self, raw: RawEvent, mapping: FieldMapping) -> list[Draft]:
        """The alerts inside an accepted request, in the body's order. Raises BadBody, nothing else."""
        context = Context(raw.event_id, raw.headers, mapping)
        return self.parse(self.decode(raw.body, context), context)


def short_key(key: str) -> str:
    """The dedup key as it is kept: itself up to 255 characters, else its hash in hexadecimal."""
    return key if len(key) <= DEDUP_KEY_LIMIT else digest(key).hex()


def short_summary(summary: str, labels: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The summary cut at 1024 characters, and the labels, which say so when it was."""
    if len(summary) <= SUMMARY_LIMIT:
        return summary, labels
    return summary[:SUMMARY_LIMIT], {**labels, SUMMARY_CUT: str(len(summary))}
