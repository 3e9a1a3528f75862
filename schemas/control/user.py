"""People, and how each is reached."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator

from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Record, Reference

Urgency = Literal["high", "low"]
#: Who acts, as the timeline of an incident shows it, without the name in brackets: `slack:U0123`, `cli:ada`.
Account = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s()][^()]*$")]


class Contact(Record):
    """A destination that reaches a person: for incidents of one urgency `only`, or of both."""

    destination: Name
    only: Urgency | None = None


class User(AnyRecord):
    """A person. Every destination that is for an incident's urgency is told, in this order.

    One destination at least is for both urgencies: a person who is on call can always be reached.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = Field(default="", max_length=200)
    destinations: tuple[Contact, ...] = Field(min_length=1, max_length=20)
    accounts: tuple[Account, ...] = Field(default=(), max_length=20)

    @field_validator("destinations")
    @classmethod
    def _always_one(cls, contacts: tuple[Contact, ...]) -> tuple[Contact, ...]:
        if all(contact.only for contact in contacts):
            raise ValueError("one at least is needed without `only`, for incidents of both urgencies")
        return contacts

    def references(self) -> Iterator[Reference]:
        """Its destinations."""
        for index, contact in enumerate(self.destinations):
            yield Reference(f"destinations.{index}.destination", "destination", contact.destination)
