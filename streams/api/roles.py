"""Who may do what: one table, from each operation of the API to the least role that may use it."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from fastapi import Request


class Role(IntEnum):
    """What a caller may do in its tenant; each role may do all that those below it may."""

    VIEWER = 1
    MEMBER = 2
    ADMIN = 3
    OWNER = 4

    @classmethod
    def of(cls, name: str) -> "Role":
        """The role of this name in small letters. Raises KeyError."""
        return cls[name.upper()]

    @property
    def text(self) -> str:
        """Its name as the API shows it."""
        return self.name.lower()


#: Operations that need no caller.
PUBLIC: Final = None
#: The operation's id is its function's name. A route that is not here answers 403 to everybody, and fails a test.
LEAST: Mapping[str, Role | None] = {
    "show_status": Role.VIEWER,
    "show_session": Role.VIEWER,
    "log_in": PUBLIC,
    "log_out": Role.VIEWER,
    "change_password": Role.VIEWER,
    "list_login_methods": PUBLIC,
    "set_up": PUBLIC,
    "start_oidc": PUBLIC,
    "finish_oidc": PUBLIC,
    "list_sessions": Role.VIEWER,
    "end_session": Role.VIEWER,
    "list_accounts": Role.ADMIN,
    "create_account": Role.ADMIN,
    "change_account": Role.ADMIN,
    "invite_account": Role.ADMIN,
    "delete_account": Role.ADMIN,
    "list_tokens": Role.MEMBER,
    "create_token": Role.MEMBER,
    "delete_token": Role.MEMBER,
    "list_api_keys": Role.ADMIN,
    "create_api_key": Role.ADMIN,
    "delete_api_key": Role.ADMIN,
    "list_audit": Role.ADMIN,
    "export_audit": Role.ADMIN,
    "list_incidents": Role.VIEWER,
    "show_incident": Role.VIEWER,
    "list_timeline": Role.VIEWER,
    "list_incident_alerts": Role.VIEWER,
    "list_incident_deliveries": Role.VIEWER,
    "list_incident_changes": Role.VIEWER,
    "list_similar": Role.VIEWER,
    "list_activity": Role.VIEWER,
    "list_reasons": Role.VIEWER,
    "command_incident": Role.MEMBER,
    "command_incidents": Role.MEMBER,
    "follow_incidents": Role.VIEWER,
    "list_views": Role.VIEWER,
    "create_view": Role.VIEWER,
    "delete_view": Role.VIEWER,
    "list_kinds": Role.VIEWER,
    "list_records": Role.VIEWER,
    "show_record": Role.VIEWER,
    # A member may write some kinds (routes.kinds).
    "write_record": Role.MEMBER,
    "delete_record": Role.MEMBER,
    "apply_configuration": Role.ADMIN,
    "list_providers": Role.VIEWER,
    "list_channels": Role.VIEWER,
    "list_integrations": Role.VIEWER,
    "show_integration": Role.VIEWER,
    "create_integration": Role.ADMIN,
    "change_integration": Role.ADMIN,
    "rotate_integration": Role.ADMIN,
    "delete_integration": Role.ADMIN,
    "test_integration": Role.MEMBER,
    "list_destinations": Role.VIEWER,
    "test_destination": Role.MEMBER,
    "preview_silence": Role.MEMBER,
    "show_oncall": Role.VIEWER,
    "list_shifts": Role.VIEWER,
    "export_schedule": Role.VIEWER,
    # Its token is in its address.
    "follow_calendar": PUBLIC,
    "test_route": Role.VIEWER,
    "start_replay": Role.MEMBER,
    "list_replays": Role.VIEWER,
    "show_replay": Role.VIEWER,
    "delete_replay": Role.MEMBER,
    "show_topology": Role.VIEWER,
    "list_heartbeats": Role.VIEWER,
    "list_alerts": Role.VIEWER,
    "list_queries": Role.VIEWER,
    "run_query": Role.VIEWER,
    "show_insights": Role.VIEWER,
    "list_deliveries": Role.VIEWER,
    "redeliver_notifications": Role.ADMIN,
    "list_dead_letters": Role.MEMBER,
    "replay_dead_letters": Role.ADMIN,
    "list_rejections": Role.MEMBER,
    "replay_rejections": Role.ADMIN,
}


def operation_of(request: Request) -> str:
    """The id of the operation that is called: the name of its function."""
    route = request.scope["route"]
    return str(route.operation_id or route.name)
