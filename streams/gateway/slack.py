"""The gateway's addresses for Slack: clicks on buttons, and the installation of the app.

Clicks are signed by Slack (https://docs.slack.dev/authentication/verifying-requests-from-slack); an address exists only
if the settings that it needs are there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import structlog
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from schemas.control import describe
from schemas.settings import Settings
from sinks.channels.slack import SlackDestination
from streams.control.transaction import Plan
from streams.gateway import answers, auth
from streams.gateway.answers import Answer
from streams.gateway.pages import Page
from streams.gateway.routes import Request
from streams.policy.signature import SLACK
from streams.process.errors import OperatorError
from streams.slack import clicks, installation
from streams.slack.handler import ClickHandler, Client, Commands
from streams.slack.socket import Socket, SocketClient

log = structlog.get_logger(__name__)

#: Slack shows an error to the person who clicked after 3 s without an answer.
WAIT_S = 2.0

Store = Callable[[Plan[SlackDestination]], Awaitable[SlackDestination]]


class Slack:
    """What there is for Slack by the settings: `pages` by path, and a socket while started."""

    def __init__(self, settings: Settings, client: SocketClient, commands: Commands, store: Store) -> None:
        self.pages: dict[str, Page] = {}
        self._handler = ClickHandler(commands, client)
        self._socket: Socket | None = None
        self._listening: asyncio.Task[None] | None = None
        if settings.slack_signing_secret:
            self.pages[installation.INTERACTIONS] = Interactions(settings.slack_signing_secret, self._handler)
        if settings.slack_app_token:
            api_url = installation.api_url(settings)
            self._socket = Socket(settings.slack_app_token, api_url, client, self._handler)
        if settings.slack_client_id and settings.slack_client_secret:
            self.pages[installation.START] = Start(settings)
            self.pages[installation.CALLBACK] = Callback(settings, client, store)

    def start(self) -> None:
        """Listen for clicks in Socket Mode, if that is set up."""
        if self._socket is not None:
            self._listening = asyncio.create_task(self._socket.run(), name="slack socket")

    async def close(self) -> None:
        """End what is under way."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._handler.close()


class Interactions:
    """`POST /slack/interactions`: what a button commands is carried out.

    The answer is 200 after WAIT_S at most; what takes longer goes on.
    """

    methods = ("POST",)

    def __init__(
        self, secret: str, handler: ClickHandler, wait: float = WAIT_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._handler = handler
        self._wait = wait
        self._clock = clock

    async def answer(self, request: Request) -> Answer:
        """Refuses with 401 what Slack did not sign in the last five minutes, with 400 what it would not send."""
        now = self._clock()
        auth.check_signature([(SLACK, self._secret)], request.header, request.sent, now)
        try:
            click = clicks.read(request.sent, int(now * 1000))
        except ValueError:
            return answers.bad_body("payload", "is no interaction of Slack")
        if click is not None:
            await asyncio.wait([self._handler.start(click)], timeout=self._wait)
        return Answer(200, b"", [])


class Start:
    """`GET /slack/oauth/start?ticket=`: leads the holder of a ticket to Slack."""

    methods = ("GET",)

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock

    async def answer(self, request: Request) -> Answer:
        """302 to Slack, with the ticket as `state`; 400 for a ticket that is not valid."""
        ticket = _query(request).get("ticket", "")
        try:
            installation.opened(ticket, self._settings.slack_client_secret, self._clock())
        except ValueError as error:
            return answers.bad_body("ticket", str(error))
        return Answer(302, b"", [("location", installation.authorize_url(self._settings, ticket)), *_PRIVATE])


class Callback:
    """`GET /slack/oauth/callback`: exchanges Slack's code for a token, and stores it with the ticket's destination.

    A ticket is taken once.
    """

    methods = ("GET",)

    def __init__(
        self, settings: Settings, client: Client, store: Store, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._client = client
        self._store = store
        self._clock = clock
        #: When each ticket that was taken expires.
        self._taken: dict[str, int] = {}

    async def answer(self, request: Request) -> Answer:
        """200 with a sentence; 400 for a wrong, expired or used state, and when Slack or the user says no; 503."""
        query, settings, now = _query(request), self._settings, self._clock()
        try:
            ticket = installation.opened(query.get("state", ""), settings.slack_client_secret, now)
        except ValueError as error:
            return answers.bad_body("state", str(error))
        self._taken = {nonce: expires for nonce, expires in self._taken.items() if expires >= now}
        if ticket.nonce in self._taken:
            return answers.bad_body("state", "was used: make a new link with `stormweir slack connect`")
        self._taken[ticket.nonce] = ticket.expires
        if not query.get("code"):
            return answers.bad_body("code", "is missing: the installation was not allowed in Slack")
        reply = await self._client.post(*installation.exchange(settings, query["code"]))
        try:
            found = installation.workspace(reply.body)
        except ValueError as error:
            return answers.bad_body("code", str(error))
        api = installation.api_url(settings)
        try:
            await self._store(lambda control: installation.connected(control, ticket, found, api))
        except ValidationError as error:
            return answers.bad_body("destination", describe(error))
        except OperatorError as error:
            return answers.bad_body("destination", str(error))
        except KafkaError as error:
            log.error("a workspace's token was not stored", error=type(error).__name__)
            return answers.NOT_STORED
        text = f"Slack is connected: {found.name or 'the workspace'} for the destination {ticket.destination}."
        return Answer(200, text.encode(), [("content-type", "text/plain; charset=utf-8"), *_PRIVATE])


#: Tickets and codes are in the URLs of these pages.
_PRIVATE = [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")]


def _query(request: Request) -> dict[str, str]:
    try:
        return {name: values[0] for name, values in parse_qs(request.scope.query_string, max_num_fields=20).items()}
    except ValueError:
        return {}
