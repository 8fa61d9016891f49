"""Groups as tools see them: DescribeGroups, ListGroups, DeleteGroups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.tables import DELETE_GROUPS, DESCRIBE_GROUPS, LIST_GROUPS
from portask.coordinator.classic_group import ClassicGroup
from portask.coordinator.state import State
from portask.errors import PortaskError, UnknownGroupError

if TYPE_CHECKING:
    from handlers.kafka.session import Session
    from portask.coordinator.group import Group

NOT_FOUND_SAID = 6
"""DescribeGroups says that there is no such group from this version on; before, the group is just dead."""
READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS = 3, 6, 8, 10, 11
ALL_OPERATIONS = sum(1 << operation for operation in (READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS))
"""What may be done to a group, as bits: everything, as long as there are no permissions."""
NOT_ASKED = -(1 << 31)

_Group = DESCRIBE_GROUPS.Response.DescribedGroup
_Member = DESCRIBE_GROUPS.Response.DescribedGroupMember
_Listed = LIST_GROUPS.Response.ListedGroup
_Deleted = DELETE_GROUPS.Response.DeletableGroupResult


def describe_groups(session: Session, request: Any, version: int) -> Any:
    """Answer a DescribeGroups."""
    operations = ALL_OPERATIONS if request.include_authorized_operations else NOT_ASKED
    return DESCRIBE_GROUPS.Response(
        groups=[_described(session, group_id, version, operations) for group_id in request.groups]
    )


def _described(session: Session, group_id: str, version: int, operations: int) -> Any:
    try:
        group = session.broker.coordinator.group(group_id)
    except UnknownGroupError as error:
        answer = _Group(group_id=group_id, group_state=State.DEAD.value, authorized_operations=operations)
        if version >= NOT_FOUND_SAID:
            answer.authorized_operations = NOT_ASKED
            answer.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            answer.error_message = str(error)
        return answer
    except PortaskError as error:
        return _Group(group_id=group_id, error_code=code_of(error))
    # Groups of other kinds will be as unknown here as those that are not there.
    assert isinstance(group, ClassicGroup)
    # Between two generations it is not settled what the group follows.
    protocol = group.rebalance.protocol if group.state is State.STABLE else ""
    return _Group(
        group_id=group_id,
        group_state=group.state_name,
        protocol_type=group.protocol_type,
        protocol_data=protocol,
        members=[
            _Member(
                member_id=member.id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata(protocol),
                member_assignment=member.assignment,
            )
            for member in group.roster
        ],
        authorized_operations=operations,
    )


def list_groups(session: Session, request: Any, version: int) -> Any:
    """Answer a ListGroups."""
    states = {state.casefold() for state in request.states_filter}
    types = {kind.casefold() for kind in request.types_filter}

    def is_wanted(group: Group) -> bool:
        return (not states or group.state_name.casefold() in states) and (not types or group.kind in types)

    try:
        groups = session.broker.coordinator.groups()
    except PortaskError as error:
        return LIST_GROUPS.Response(error_code=code_of(error))
    return LIST_GROUPS.Response(
        groups=[
            _Listed(
                group_id=group.id,
                protocol_type=group.protocol_type,
                group_state=group.state_name,
                group_type=group.kind,
            )
            for group in groups
            if is_wanted(group)
        ]
    )


def delete_groups(session: Session, request: Any, version: int) -> Any:
    """Answer a DeleteGroups. Blocks until durable."""
    return DELETE_GROUPS.Response(
        results=[
            _Deleted(group_id=group_id, error_code=_delete(session, group_id))
            for group_id in dict.fromkeys(request.groups_names)
        ]
    )


def _delete(session: Session, group_id: str) -> ErrorCode:
    try:
        session.broker.coordinator.delete(group_id)
    except PortaskError as error:
        return code_of(error)
    return ErrorCode.NONE
