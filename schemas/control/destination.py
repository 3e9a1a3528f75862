"""Where notifications go."""

import re
from typing import Literal

from pydantic import Field, HttpUrl, field_validator

from schemas.control.record import DEFAULT_TENANT, Name, Record


class Destination(Record):
    """Where notifications go. `type` is a channel's slug; requests to the destination are signed with `secret`."""

    id: Name
    tenant: Name = DEFAULT_TENANT
    type: Name = "webhook"
    url: HttpUrl
    template: Literal["stormweir-v1", "cortif-v1", "opsknight-v1"] = "stormweir-v1"
    secret: str | None = Field(default=None, min_length=8, repr=False)
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    enabled: bool = True

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name) or not re.fullmatch(r"[\x20-\x7e]{0,1000}", value):
                raise ValueError(f"header {name!r} is not a plain HTTP header")
        return headers
