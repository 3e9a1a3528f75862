"""A finished storm, for people and for machines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from streams.storm.counts import Counts
from streams.storm.ledger import Books


@dataclass(frozen=True, slots=True)
class Summary:
    """What was sent and what ClickHouse holds of it; `books` is None if no books were taken.

    `send_seconds` is the time of sending, `seconds` ends when the last alert was stored.
    """

    counts: Sequence[Counts]
    books: Books | None
    send_seconds: float
    seconds: float

    def total(self, name: str) -> int:
        """The sum of this number of `counts` over all parts of the storm."""
        return sum(getattr(part, name) for part in self.counts)

    @property
    def problems(self) -> list[str]:
        """Why this storm is not a success; empty when it is."""
        found = [part.stopped for part in self.counts if part.stopped]
        if self.books is not None and self.books.unaccounted:
            found.append(f"{self.books.unaccounted} accepted alerts are unaccounted for")
        if self.books is not None and self.books.duplicates:
            found.append(f"{self.books.duplicates} rows too many")
        if not self.total("accepted"):
            found.append(f"nothing was accepted: {self._statuses() or 'no answer'}")
        return found

    def json(self) -> dict[str, Any]:
        """One flat object. Counts are alerts; latencies are those of the first part, in milliseconds.

        `duplicates` counts surplus rows (0 is promised); repeats of a key, which the system folds on purpose, are
        `outcomes.deduplicated`.
        """
        accepted = self.total("accepted")
        result: dict[str, Any] = {
            **{name: self.total(name) for name in ("sent", "accepted", "refused", "unknown", "retried")},
            "statuses": self._statuses(),
            "send_seconds": round(self.send_seconds, 3),
            "seconds": round(self.seconds, 3),
            "rate": round(accepted / self.send_seconds, 1) if self.send_seconds else 0.0,
            "latency_ms": {
                name: round(self.counts[0].latency.quantile(share), 3) for name, share in (("p50", 0.5), ("p99", 0.99))
            },
        }
        if self.books is not None:
            books = self.books
            result |= {
                "stored": books.stored.alerts,
                "unaccounted": books.unaccounted,
                "duplicates": books.duplicates,
                "dead_letters": books.stored.dead_letters,
                "outcomes": books.outcomes,
                "incidents": books.incidents,
                "notifications": books.notifications,
                "drained": books.drained,
                "missing": [each._asdict() for each in books.missing],
                "doubled": [each._asdict() for each in books.doubled],
            }
        return result

    def table(self) -> Table:
        """The same for a terminal."""
        table = Table(title="storm", show_header=False)
        for name, value in self.json().items():
            match value:
                case {} if value:
                    table.add_row(name, ", ".join(f"{key} {number:,}" for key, number in value.items()))
                case [*items]:
                    for item in items:
                        table.add_row(name, ", ".join(f"{key} {each}" for key, each in item.items()), style="red")
                case bool():
                    table.add_row(name, "yes" if value else "no", style="" if value else "red")
                case int() | float():
                    table.add_row(name, f"{value:,}")
        return table

    def _statuses(self) -> dict[str, int]:
        totals = sum((part.statuses for part in self.counts), Counter())
        return {str(status): count for status, count in sorted(totals.items())}
