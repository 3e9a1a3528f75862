"""What the connected user may do with topics and groups, as the broker reports it (KIP-430).

Protocol: https://kafka.apache.org/protocol, Metadata version 8 and DescribeGroups version 3.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

#: Bits of authorized operations: org.apache.kafka.common.acl.AclOperation.
_BITS = {"READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8, "DESCRIBE_CONFIGS": 10, "ALTER_CONFIGS": 11}
#: The answer of a broker that does not report operations: the least 32-bit number.
_UNKNOWN = -(2**31)
#: For a topic or group that the broker hides: operations in _SHOWING are not allowed, and others are unknown.
_HIDDEN = -1
_SHOWING = ("READ", "WRITE", "DESCRIBE")
_TRIES = 20
_RETRY_S = 0.25


class Operations:
    """Which operations are allowed: call it with an operation, the kind of a resource, and its name.

    An operation that the broker does not report counts as allowed. `missing` are the topics that do not exist.
    """

    def __init__(self, cluster: int, found: Mapping[tuple[str, str], int], missing: Sequence[str]) -> None:
        self.missing = missing
        self._cluster = cluster
        self._found = found

    def __call__(self, operation: str, resource: str, name: str) -> bool:
        bits = self._found.get((resource, name), _UNKNOWN)
        if bits == _HIDDEN:
            return operation not in _SHOWING
        if operation == "CREATE":
            bits |= self._cluster
        return bits == _UNKNOWN or bool(bits & 1 << _BITS[operation])


async def operations_of(admin: AIOKafkaAdminClient, topics: Sequence[str], groups: Sequence[str]) -> Operations:
    """Ask for these topics and groups, by Kafka's names. Raises KafkaError."""
    answer = await admin._client.send(admin._client.get_random_node(), MetadataRequest(list(topics)))
    found: dict[tuple[str, str], int] = {}
    missing = []
    for error_code, name, _, _, operations in answer.topics:
        error = for_code(error_code)
        if error is UnknownTopicOrPartitionError:
            missing.append(name)
            operations = _UNKNOWN
        found["topic", name] = _HIDDEN if error is TopicAuthorizationFailedError else operations
    for group in groups:
        found["group", group] = await _group(admin, group)
    return Operations(answer.cluster_authorized_operations, found, missing)


async def _group(admin: AIOKafkaAdminClient, group: str) -> int:
    for _ in range(_TRIES):
        try:
            coordinator = await admin.find_coordinator(group)
            break
        except GroupAuthorizationFailedError:
            return _HIDDEN
        except GroupCoordinatorNotAvailableError:
            # A new cluster creates its topic of groups when it is first asked for a group.
            await asyncio.sleep(_RETRY_S)
    else:
        return _UNKNOWN
    answer = await admin._client.send(coordinator, _DescribeGroupsRequest(group))
    error_code, *_, operations = answer.groups[0]
    return _HIDDEN if for_code(error_code) is GroupAuthorizationFailedError else int(operations)


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8")))),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]
    """Asks for these topics, without creating any, and for the operations allowed on them and on the cluster."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, struct: Any) -> Any:
        return struct(self._topics, False, True, True)


class _DescribeGroupsStruct(DescribeGroupsRequest_v3):  # type: ignore[misc]
    # aiokafka 0.14 reads the answer as version 2, which has no authorized operations.
    RESPONSE_TYPE = DescribeGroupsResponse_v3


class _DescribeGroupsRequest(Request[_DescribeGroupsStruct]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, struct: Any) -> Any:
        return struct([self._group], True)
