"""What a service or a rule says about the life of one key: when its first alert is told, when it ends by itself."""

from pydantic import Field, field_validator, model_validator

from schemas.control.record import Record

HOUR_S = 3600
DAY_S = 86_400


class Threshold(Record):
    """An alert is told only once it fired `count` times within `within` seconds; 1 tells it at once."""

    count: int = Field(ge=1, le=1000)
    within: int = Field(default=600, ge=1, le=DAY_S)


class Flapping(Record):
    """A key that changed `changes` times within `within` seconds flaps, until it was stable for `quiet` seconds.

    0 changes switch this off.
    """

    changes: int = Field(default=6, ge=0, le=100)
    within: int = Field(default=1800, ge=1, le=HOUR_S)
    quiet: int = Field(default=900, ge=1, le=DAY_S)

    @field_validator("changes")
    @classmethod
    def _more_than_one_episode(cls, changes: int) -> int:
        if changes in {1, 2}:
            raise ValueError("an alert that opens and resolves once changes twice: at least 3, or 0 for off")
        return changes


class Life(Record):
    """All times are seconds. None leaves it to the service, or off; 0 in a rule switches off what the service has.

    `window` folds repeats. `hold` waits, and a resolve meanwhile ends the alert untold. `resolve_after` ends an alert
    that has not fired for so long.
    """

    window: int | None = Field(default=None, ge=0, le=DAY_S)
    hold: int | None = Field(default=None, ge=0, le=DAY_S)
    threshold: Threshold | None = None
    resolve_after: int | None = Field(default=None, ge=0, le=30 * DAY_S)
    flapping: Flapping | None = None

    @model_validator(mode="after")
    def _ends_after_it_is_told(self) -> "Life":
        if self.hold and self.resolve_after and self.resolve_after <= self.hold:
            raise ValueError("resolve_after must be longer than hold: the alert would end as soon as it is told")
        return self
