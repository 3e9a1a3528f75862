"""Silences and maintenance: times in which nobody is notified that something starts."""

from collections.abc import Iterator

from pydantic import Field

from schemas.control.period import Period
from schemas.control.record import Name, Reference, references


class Silence(Period):
    """Mutes the incidents for which all `match` lines hold.

    A silence that names neither a service nor another narrow field by equality may hide everything, so it needs
    `everything: true`.
    """

    match: tuple[str, ...] = Field(min_length=1, max_length=20)
    everything: bool = False


class Maintenance(Period):
    """Mutes all incidents of some services, while people work on them."""

    services: tuple[Name, ...] = Field(min_length=1, max_length=100)

    def references(self) -> Iterator[Reference]:
        """The services."""
        yield from references("services", "service", self.services)
