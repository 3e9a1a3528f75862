"""Who may use the API and the console: people's accounts, and tokens for programs.

Both are made by commands and by the API only: a file of configuration that could hold them would let whoever may apply
it raise their own role.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from schemas.control.destination import SecretMark
from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name

RoleName = Literal["viewer", "member", "admin", "owner"]
#: No colon, so that nobody is taken for `cli:ada` or `token:deploy`.
Login = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9][a-z0-9._@+-]*$")]


class Account(AnyRecord):
    """A person who logs in with a password, or by an identity provider as (`issuer`, `subject`).

    `login` is unique over all tenants. `password` is an argon2id hash in PHC format (RFC 9106). Without one and without
    a subject nobody can log in. `invitation` is the SHA-256 of the token that sets the password once, until
    `invited_until`.
    """

    per_tenant: ClassVar[bool] = False
    declared: ClassVar[bool] = False

    id: Name
    tenant: Name = DEFAULT_TENANT
    login: Login
    name: str = Field(default="", max_length=200)
    role: RoleName = "viewer"
    enabled: bool = True
    password: Annotated[str | None, SecretMark(hashed=True)] = Field(
        default=None, pattern=r"^\$argon2id\$[\x21-\x7e]{1,200}$", repr=False
    )
    issuer: str = Field(default="", max_length=500)
    subject: str = Field(default="", max_length=255)
    created_at: AwareDatetime
    invitation: Annotated[str | None, SecretMark(hashed=True)] = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", repr=False
    )
    invited_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.issuer) != bool(self.subject):
            raise ValueError("issuer and subject belong together")
        if (self.invitation is None) != (self.invited_until is None):
            raise ValueError("invitation and invited_until belong together")
        return self

    @property
    def usable(self) -> bool:
        """Whether somebody can log in with it."""
        return self.enabled and (self.password is not None or bool(self.subject))

    def invited(self, now: datetime) -> bool:
        """Whether its invitation can be taken now."""
        return self.invited_until is not None and now < self.invited_until


class Token(AnyRecord):
    """A bearer token for the API. The record has its SHA-256, and `prefix` for people to know it by.

    It acts for the account `created_by` and ends with it; its role is never above that account's present one. With
    `feed`, a schedule's id, it reads that schedule's calendar feed, and nothing else.
    """

    per_tenant: ClassVar[bool] = False
    declared: ClassVar[bool] = False

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f()]+$")
    prefix: str = Field(default="", max_length=12)
    sha256: Annotated[str, SecretMark(hashed=True)] = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    role: RoleName = "viewer"
    feed: Name | Literal[""] = ""
    created_by: Name
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
