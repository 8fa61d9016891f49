"""A group as it is stored, so that a restart goes unnoticed by its members.

    table "groups"   group id (UTF-8)
                     -> CBOR ["classic", protocol type, protocol, generation, leader, changed at ms, members]
    member           [id, instance id, client id, client host, session ms, rebalance ms, metadata, assignment]

A row is written before members learn their assignment, when a static member is replaced, and when the
last member has gone. A group that was between two generations comes back in the one before. The first
field keeps room for groups of other kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portask.coordinator.member import JoinRequest, Member
from portask.errors import CorruptError, ProtocolError
from portask.message import decode_cbor, encode_cbor
from portask.storage.base import Round

TABLE = "groups"
CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A classic group in a generation, or without members."""

    protocol_type: str
    protocol: str
    generation: int
    leader: str | None
    changed_at_ms: int
    members: list[Member]

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> tuple[str, GroupRow]:
        """The group id and the group of that row. Raises CorruptError."""
        try:
            kind, protocol_type, protocol, generation, leader, changed_at_ms, rows = decode_cbor(value)
            if kind != CLASSIC:
                raise ValueError(f"no group is of kind {kind!r}")
            members = [_member(str(protocol_type), str(protocol), *row) for row in rows]
            row = cls(str(protocol_type), str(protocol), int(generation), leader, int(changed_at_ms), members)
            return key.decode(), row
        except (ProtocolError, ValueError, TypeError) as error:
            raise CorruptError(f"row {key.hex()} of table {TABLE} is broken: {error}") from error


def encode_group(row: GroupRow, members: Iterable[Member], assignments: Mapping[str, bytes]) -> bytes:
    """The value of a group's row, with the *members* and what each of them is assigned."""
    return encode_cbor(
        [
            CLASSIC,
            row.protocol_type,
            row.protocol,
            row.generation,
            row.leader,
            row.changed_at_ms,
            [
                [
                    member.id,
                    member.instance_id,
                    member.client_id,
                    member.client_host,
                    round(member.session_timeout_s * 1000),
                    round(member.rebalance_timeout_s * 1000),
                    member.metadata(row.protocol),
                    assignments.get(member.id, b""),
                ]
                for member in members
            ],
        ]
    )


def delete_row(group_id: str, round_: Round) -> None:
    """Put the deletion of a group's row into *round_*."""
    round_.puts[TABLE, group_id.encode()] = None


def _member(
    protocol_type: str,
    protocol: str,
    member_id: str,
    instance_id: str | None,
    client_id: str,
    client_host: str,
    session_timeout_ms: int,
    rebalance_timeout_ms: int,
    metadata: bytes,
    assignment: bytes,
) -> Member:
    request = JoinRequest(
        member_id,
        instance_id,
        session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type,
        [(protocol, metadata)],
        client_id,
        client_host,
    )
    member = Member(member_id, request)
    member.assignment = assignment
    return member
