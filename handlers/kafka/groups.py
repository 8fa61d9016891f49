"""Groups of the classic protocol: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.tables import (
    CONSUMER_PROTOCOL_SUBSCRIPTION,
    FIND_COORDINATOR,
    HEARTBEAT,
    JOIN_GROUP,
    LEAVE_GROUP,
    SYNC_GROUP,
)
from portask.coordinator.member import JoinRequest
from portask.coordinator.subscribed_topics import CONSUMER, register_metadata_reader
from portask.errors import GroupFullError, MemberIdRequiredError, PortaskError, ProtocolError, UnknownMemberError

if TYPE_CHECKING:
    from handlers.kafka.session import Session

KEY_GROUP, KEY_TRANSACTION = 0, 1
BATCHED_LOOKUP = 4
"""FindCoordinator looks for several keys at once from this version on."""
MEMBER_ID_REQUIRED = 4
"""JoinGroup has clients join again with the id they are given from this version on (KIP-394)."""
SKIP_ASSIGNMENT = 9
"""JoinGroup may tell a leader not to assign from this version on (KIP-814)."""
MANY_LEAVE = 3
"""LeaveGroup names several members from this version on."""
PROTOCOL_NAMED = 5
"""SyncGroup says which protocol the client follows from this version on."""
NULL_PROTOCOL = 7
"""JoinGroup may say that there is no protocol from this version on."""
MAX_REASON = 255

_Coordinator = FIND_COORDINATOR.Response.Coordinator
_JoinedMember = JOIN_GROUP.Response.JoinGroupResponseMember
_LeftMember = LEAVE_GROUP.Response.MemberResponse


def read_subscription(metadata: bytes) -> Iterable[str]:
    """The topics that a consumer's metadata name. Raises ProtocolError."""
    if len(metadata) < 2:
        raise ProtocolError("metadata of a consumer begin with a version")
    version = int.from_bytes(metadata[:2], "big", signed=True)
    if version < 0:
        raise ProtocolError(f"metadata of a consumer have no version {version}")
    newest: int = CONSUMER_PROTOCOL_SUBSCRIPTION.versions[1]
    subscription, _ = CONSUMER_PROTOCOL_SUBSCRIPTION.decode(min(version, newest))(metadata, 2, len(metadata))
    topics: list[str] = subscription.topics
    return topics


register_metadata_reader(CONSUMER, read_subscription)


def find_coordinator(session: Session, request: Any, version: int) -> Any:
    """Answer a FindCoordinator: this node, for every group and every transaction."""
    keys = request.coordinator_keys if version >= BATCHED_LOOKUP else [request.key]
    found = [_coordinator(session, key, request.key_type) for key in keys]
    if version >= BATCHED_LOOKUP:
        return FIND_COORDINATOR.Response(coordinators=found)
    only = found[0]
    return FIND_COORDINATOR.Response(
        error_code=only.error_code,
        # As Kafka says it.
        error_message=ErrorCode(only.error_code).name if not only.error_code else only.error_message,
        node_id=only.node_id,
        host=only.host,
        port=only.port,
    )


def _coordinator(session: Session, key: str, key_type: int) -> Any:
    if key_type not in {KEY_GROUP, KEY_TRANSACTION}:
        return _Coordinator(
            key=key,
            node_id=-1,
            port=-1,
            error_code=ErrorCode.INVALID_REQUEST,
            error_message=f"there are no coordinators of type {key_type}",
        )
    host, port = session.advertised
    return _Coordinator(key=key, node_id=session.node.node_id, host=host, port=port)


def join_group(session: Session, request: Any, version: int) -> Any:
    """Answer a JoinGroup. Blocks until the group has a generation."""
    rebalance_timeout_ms = request.rebalance_timeout_ms
    join = JoinRequest(
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=request.session_timeout_ms if rebalance_timeout_ms < 0 else rebalance_timeout_ms,
        protocol_type=request.protocol_type,
        protocols=[(protocol.name, bytes(protocol.metadata)) for protocol in request.protocols],
        client_id=session.client_id,
        # As Java writes an address, and tools show it.
        client_host=f"/{session.client_host}",
        needs_member_id=version >= MEMBER_ID_REQUIRED,
        can_skip_assignment=version >= SKIP_ASSIGNMENT,
        reason=None if request.reason is None else request.reason[:MAX_REASON],
    )
    try:
        joined = session.broker.coordinator.join(request.group_id, join, session.wait)
    except PortaskError as error:
        member_id = request.member_id
        if isinstance(error, MemberIdRequiredError):
            member_id = error.member_id
        elif isinstance(error, GroupFullError):
            member_id = ""
        no_protocol = None if version >= NULL_PROTOCOL else ""
        return JOIN_GROUP.Response(error_code=code_of(error), member_id=member_id, protocol_name=no_protocol)
    return JOIN_GROUP.Response(
        generation_id=joined.generation,
        protocol_type=joined.protocol_type,
        protocol_name=joined.protocol,
        leader=joined.leader,
        skip_assignment=joined.skip_assignment,
        member_id=joined.member_id,
        members=[
            _JoinedMember(member_id=peer.member_id, group_instance_id=peer.instance_id, metadata=peer.metadata)
            for peer in joined.peers
        ],
    )


def sync_group(session: Session, request: Any, version: int) -> Any:
    """Answer a SyncGroup. Blocks until the leader's one has come, and is durable."""
    if version >= PROTOCOL_NAMED and (request.protocol_type is None or request.protocol_name is None):
        return SYNC_GROUP.Response(error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    try:
        synced = session.broker.coordinator.sync(
            request.group_id,
            request.member_id,
            request.group_instance_id,
            request.generation_id,
            request.protocol_type,
            request.protocol_name,
            {assignment.member_id: bytes(assignment.assignment) for assignment in request.assignments},
            session.wait,
        )
    except PortaskError as error:
        return SYNC_GROUP.Response(error_code=code_of(error))
    return SYNC_GROUP.Response(
        protocol_type=synced.protocol_type, protocol_name=synced.protocol, assignment=synced.assignment
    )


def heartbeat(session: Session, request: Any, version: int) -> Any:
    """Answer a Heartbeat."""
    try:
        session.broker.coordinator.heartbeat(
            request.group_id, request.member_id, request.group_instance_id, request.generation_id
        )
    except PortaskError as error:
        return HEARTBEAT.Response(error_code=code_of(error))
    return HEARTBEAT.Response()


def leave_group(session: Session, request: Any, version: int) -> Any:
    """Answer a LeaveGroup."""
    if version >= MANY_LEAVE:
        leavers = [(member.member_id, member.group_instance_id) for member in request.members]
        reason = next((member.reason for member in request.members if member.reason), "left")
    else:
        leavers, reason = [(request.member_id, None)], "left"
    outcomes: Sequence[PortaskError | None]
    try:
        outcomes = session.broker.coordinator.leave(request.group_id, leavers, reason[:MAX_REASON])
    except UnknownMemberError as error:
        # There is no such group, so none of them is a member.
        outcomes = [error] * len(leavers)
    except PortaskError as error:
        return LEAVE_GROUP.Response(error_code=code_of(error))
    codes = [ErrorCode.NONE if error is None else code_of(error) for error in outcomes]
    if version < MANY_LEAVE:
        return LEAVE_GROUP.Response(error_code=codes[0])
    return LEAVE_GROUP.Response(
        members=[
            _LeftMember(member_id=member_id, group_instance_id=instance_id, error_code=code)
            for (member_id, instance_id), code in zip(leavers, codes, strict=True)
        ]
    )
