"""Logging in by an identity provider. Both operations are visited by browsers, so they answer with a page to go to."""

from urllib.parse import quote

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from schemas.control import Account
from streams.api.identity.browser import address_of, attempt_of, clear_attempt, set_attempt
from streams.api.identity.oidc import Oidc, OidcError
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError
from streams.api.routes.session import begin
from streams.api.times import moment
from streams.control import accounts
from streams.control.audit import Actor
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change

log = structlog.get_logger(__name__)
router = APIRouter()


@router.get("/oidc/start", status_code=303, response_class=RedirectResponse)
async def start_oidc(parts: PartsOf, request: Request) -> Response:
    """Go to the identity provider."""
    provider = _provider(parts)
    try:
        address, attempt = await provider.start()
    except OidcError as error:
        return _refused(request, error)
    response = RedirectResponse(address, 303)
    set_attempt(request, response, attempt)
    return response


@router.get("/oidc/callback", status_code=303, response_class=RedirectResponse)
async def finish_oidc(parts: PartsOf, request: Request) -> Response:
    """Come back from it: begin a session, and go to the console; or to its login page, which says why not."""
    provider = _provider(parts)
    try:
        attempt = attempt_of(request)
        if attempt is None:
            raise OidcError("this browser began no login in the last ten minutes")
        claims = await provider.finish(request.query_params, attempt)
        account = await _account(parts, claims, address_of(request))
    except (OidcError, FieldError) as error:
        parts.audit.refused(parts.settings.oidc_tenant, Actor("", address_of(request)), "log_in", "oidc")
        return _refused(request, error)
    response = await begin(parts, request, account)
    response.status_code = 303
    response.headers["Location"] = "/"
    clear_attempt(request, response)
    return response


async def _account(parts: Parts, claims: dict[str, object], address: str) -> Account:
    settings, now = parts.settings, moment(parts.now())

    def wanted(control: Control) -> Account:
        return accounts.federated(
            control,
            claims,
            tenant=settings.oidc_tenant,
            role_claim=settings.oidc_role_claim,
            default_role=settings.oidc_default_role,
            now=now,
        )

    def plan(control: Control) -> tuple[Account, Change]:
        account = wanted(control)
        return account, Change([account])

    account = wanted(parts.control)
    if account != accounts.by_subject(parts.control, account.issuer, account.subject):
        account = await parts.transact(plan, Actor(account.login, address))
    if not account.enabled:
        raise OidcError("this account is disabled")
    return account


def _provider(parts: Parts) -> Oidc:
    if parts.oidc is None:
        raise ProblemError(404, "there is no identity provider")
    return parts.oidc


def _refused(request: Request, error: Exception) -> Response:
    log.warning("nobody is logged in by the identity provider", reason=str(error))
    response = RedirectResponse(f"/#/login?error={quote(str(error))}", 303)
    clear_attempt(request, response)
    return response
