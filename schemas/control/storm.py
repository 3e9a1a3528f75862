"""Storms: when so much opens at once that it is told as one incident. All times are seconds."""

from typing import Self

from pydantic import Field, model_validator

from schemas.control.record import Record


class Storm(Record):
    """A storm begins when `above` incidents of a service, or of a tenant, opened within `within` seconds.

    In a service's they and what opens next are one incident; in a tenant's one of them is told for all. It ends when
    fewer than `below` opened within `within` seconds for `quiet` seconds; a service's only once its alerts are resolved
    as well. After a page the next ones wait `wait` seconds for a storm.
    """

    above: int = Field(default=20, ge=2, le=10_000)
    below: int = Field(default=5, ge=1, le=10_000)
    within: int = Field(default=60, ge=1, le=3600)
    quiet: int = Field(default=120, ge=1, le=86_400)
    wait: int = Field(default=30, ge=0, le=600)

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        if self.below >= self.above:
            raise ValueError("below must be less than above, or the storm would begin and end with each alert")
        return self
