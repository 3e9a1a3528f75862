"""Changes to accounts and tokens: the records that a change would write, checked before that.

Pure, but for the tokens, which are random. A token is returned once and never stored, only its SHA-256 is.
"""

import itertools
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic import ValidationError

from schemas.control import Account, AnyRecord, Token, control_key
from streams.control.edits import FieldError, check_tenant
from streams.control.state import Control
from streams.control.write import Change

#: How long an invitation, or the link of a tenant's first owner, can be taken.
INVITED = timedelta(hours=24)
_TOKEN_BYTES = 32
_LONGEST = timedelta(days=3660)


class Made(NamedTuple):
    """A record with a token that only its receiver is shown."""

    record: AnyRecord
    token: str


def new_secret_token(prefix: str) -> str:
    """A token with 256 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(_TOKEN_BYTES)}"


def hash_of(token: str) -> str:
    """What is stored of a token: its SHA-256 in hexadecimal. It is random, so that nobody can guess it from that."""
    return sha256(token.encode()).hexdigest()


def accounts_of(control: Control, tenant: str) -> list[Account]:
    """The tenant's accounts by their logins."""
    found = (account for account in control.every(Account).values() if account.tenant == tenant)
    return sorted(found, key=lambda account: account.login)


def by_login(control: Control, login: str) -> Account | None:
    """The account of this login, in whichever tenant."""
    wanted = login.lower()
    return next((account for account in control.every(Account).values() if account.login == wanted), None)


def find_account(control: Control, login: str) -> Account:
    """The account of this login. Raises FieldError."""
    found = by_login(control, login)
    if found is None:
        raise FieldError("login", "there is no such account; `stormweir accounts list` shows all")
    return found


def new_account(control: Control, values: Mapping[str, Any], now: datetime) -> Account:
    """A new account with these fields. Raises FieldError, also for a login that is taken."""
    login = str(values.get("login", "")).lower()
    account = _checked({"id": secrets.token_hex(8), "created_at": now, **values, "login": login})
    if by_login(control, login) is not None:
        raise FieldError("login", "is taken")
    check_tenant(control, account.tenant)
    return account


def invited(account: Account, now: datetime) -> Made:
    """The account with an invitation instead of its password."""
    token = new_secret_token("swi")
    values = {"password": None, "invitation": hash_of(token), "invited_until": now + INVITED}
    return Made(account.model_copy(update=values), token)


def invited_by(control: Control, token: str, now: datetime) -> Account | None:
    """The account whose invitation this is, if it can be taken now."""
    wanted = hash_of(token)
    for account in control.every(Account).values():
        if account.invitation == wanted and account.enabled and account.invited(now):
            return account
    return None


def changed_account(control: Control, account: Account, values: Mapping[str, Any]) -> Account:
    """The account with these fields replaced. Raises FieldError, also if its tenant would have no owner."""
    changed = _checked({**account.model_dump(), **values})
    if not (changed.usable and changed.role == "owner"):
        _require_other_owner(control, account, "role" if changed.usable else "enabled")
    return changed


def without_account(control: Control, account: Account) -> Change:
    """The change that deletes the account and its tokens. Raises FieldError if its tenant would have no owner."""
    _require_other_owner(control, account, "id")
    return Change(deletes=[*map(control_key, tokens_of(control, account)), control_key(account)])


def tokens_of(control: Control, account: Account) -> Iterator[Token]:
    """The tokens that act for the account."""
    return (token for token in control.tokens.values() if token.created_by == account.id)


def new_token(account: Account, values: Mapping[str, Any], now: datetime) -> Made:
    """A new token of the account. `values` are `name`, `role`, `feed` and `expires_at`. Raises FieldError."""
    text = new_secret_token("swc" if values.get("feed") else "swt")
    made = {
        "id": secrets.token_hex(8),
        "tenant": account.tenant,
        "prefix": text[:8],
        "sha256": hash_of(text),
        "created_by": account.id,
        "created_at": now,
    }
    try:
        token = Token.model_validate({**values, **made})
    except ValidationError as error:
        raise _field_error(error) from None
    if token.expires_at is not None and not now < token.expires_at <= now + _LONGEST:
        raise FieldError("expires_at", "is a time in the next ten years")
    return Made(token, text)


def held_token(control: Control, text: str, now: datetime) -> tuple[Token, Account] | None:
    """The token that this is, and the account that it acts for, if both hold."""
    token = control.tokens.get(hash_of(text))
    if token is None or (token.expires_at is not None and token.expires_at <= now):
        return None
    account = usable_account(control, token.tenant, token.created_by)
    return (token, account) if account is not None else None


def usable_account(control: Control, tenant: str, account_id: str) -> Account | None:
    """The account of this id, if its person may log in."""
    account = control.every(Account).get((tenant, account_id))
    return account if account is not None and account.usable else None


def by_subject(control: Control, issuer: str, subject: str) -> Account | None:
    """The account of this person at this identity provider."""
    for account in control.every(Account).values():
        if (account.issuer, account.subject) == (issuer, subject):
            return account
    return None


def federated(
    control: Control, claims: Mapping[str, Any], *, tenant: str, role_claim: str, default_role: str, now: datetime
) -> Account:
    """The account of whom an identity provider knows by these claims of a verified ID token, as it should be now.

    A new one gets a login that nobody has: an account that was there before is never taken over because of its login.
    The claim `role_claim` decides the role at each login, an account's own stays without it. Raises FieldError.
    """
    named = _role(claims, role_claim, default_role)
    name = claims.get("name")
    found = by_subject(control, claims["iss"], claims["sub"])
    if found is not None:
        changes = {"role": named} if role_claim else {}
        return changed_account(control, found, {**changes, **({"name": name[:200]} if isinstance(name, str) else {})})
    values = {
        "tenant": tenant,
        "name": name[:200] if isinstance(name, str) else "",
        "role": named,
        "issuer": claims["iss"],
        "subject": claims["sub"],
        "login": _free_login(control, claims),
    }
    return new_account(control, values, now)


def _role(claims: Mapping[str, Any], role_claim: str, default_role: str) -> str:
    """The greatest role that the claim names, a text or a list of texts."""
    said = claims.get(role_claim) if role_claim else None
    names = said if isinstance(said, list) else [said]
    return next((role for role in ("owner", "admin", "member", "viewer") if role in names), default_role)


def _free_login(control: Control, claims: Mapping[str, Any]) -> str:
    wanted = (claims.get(name) for name in ("preferred_username", "email", "sub"))
    first = next(text for text in wanted if isinstance(text, str) and text)
    plain = re.sub(r"[^a-z0-9._@+-]+", "-", first.lower()).lstrip("._@+-")[:90] or "somebody"
    numbered = (f"{plain}-{number}" for number in itertools.count(2))
    return next(login for login in itertools.chain([plain], numbered) if by_login(control, login) is None)


def _require_other_owner(control: Control, account: Account, field: str) -> None:
    """Raise FieldError if the account is the last owner of its tenant who can log in."""
    if account.role == "owner" and account.usable:
        others = accounts_of(control, account.tenant)
        if not any(other.usable and other.role == "owner" and other.id != account.id for other in others):
            raise FieldError(field, f"{account.login} is the last owner of the tenant {account.tenant}")


def _checked(values: Mapping[str, Any]) -> Account:
    try:
        return Account.model_validate(values)
    except ValidationError as error:
        raise _field_error(error) from None


def _field_error(error: ValidationError) -> FieldError:
    first = error.errors()[0]
    return FieldError(".".join(str(part) for part in first["loc"]) or "record", first["msg"])
