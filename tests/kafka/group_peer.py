"""A member of a group, as a connection that joins and syncs in any version."""

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode

JOIN = tables.JOIN_GROUP
SYNC = tables.SYNC_GROUP


def subscription(*topics, version=0):
    """The metadata of a consumer that reads *topics*."""
    table = tables.CONSUMER_PROTOCOL_SUBSCRIPTION
    value = table.value(topics=list(topics), user_data=None, owned_partitions=[])
    return version.to_bytes(2, "big") + b"".join(table.encode(min(version, 3))(value))


def join_request(group="g", member_id="", metadata=None, **more):
    """A JoinGroup with one protocol."""
    protocol = JOIN.Request.JoinGroupRequestProtocol(
        name="range", metadata=subscription("t") if metadata is None else metadata
    )
    values = {
        "group_id": group,
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 60_000,
        "member_id": member_id,
        "protocol_type": "consumer",
        "protocols": [protocol],
    }
    return JOIN.Request(**{**values, **more})


def sync_request(group, member_id, generation, assignments, **more):
    """A SyncGroup; *assignments* are by member id."""
    values = {
        "group_id": group,
        "generation_id": generation,
        "member_id": member_id,
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignments": [
            SYNC.Request.SyncGroupRequestAssignment(member_id=name, assignment=assignment)
            for name, assignment in assignments.items()
        ],
    }
    return SYNC.Request(**{**values, **more})


class GroupPeer:
    """One member on a connection of its own."""

    def __init__(self, peer, group="g", join_version=9, instance_id=None, **join):
        self.peer = peer
        self.group = group
        self.join_version = join_version
        self.instance_id = instance_id
        self.join_fields = {"group_instance_id": instance_id, **join}
        self.member_id = ""
        self.generation = -1
        self.joined = None

    def ask(self, api, version, **fields):
        """Any request of the group, as this member."""
        values = {"group_id": self.group, **fields}
        if hasattr(api.Request, "member_id"):
            values.setdefault("member_id", self.member_id)
        return self.peer.ask(api, version, **values)

    def send_join(self):
        """Ask to join; `read_join` is to follow."""
        request = join_request(self.group, self.member_id, **self.join_fields)
        self.peer.send(JOIN, self.join_version, request)

    def read_join(self):
        """The answer to a join."""
        joined = self.peer.read(JOIN, self.join_version)
        if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = joined.member_id
            self.send_join()
            return self.read_join()
        self.member_id, self.generation, self.joined = joined.member_id, joined.generation_id, joined
        return joined

    def join(self):
        """Join; the answer."""
        self.send_join()
        return self.read_join()

    def send_sync(self, version=5):
        """Ask for the assignment; the leader gives each member its own id."""
        assignments = {member.member_id: member.member_id.encode() for member in self.joined.members}
        request = sync_request(
            self.group, self.member_id, self.generation, assignments, group_instance_id=self.instance_id
        )
        self.peer.send(SYNC, version, request)

    def sync(self, version=5):
        """Ask for the assignment; the answer."""
        self.send_sync(version)
        return self.peer.read(SYNC, version)

    def heartbeat(self, version=4):
        """The code that a heartbeat gets."""
        fields = {"generation_id": self.generation, "group_instance_id": self.instance_id}
        return self.ask(tables.HEARTBEAT, version, **fields).error_code


def form(*members):
    """Have *members* become one generation, the first one leading."""
    first, *others = members
    first.join()
    first.sync()
    for member in others:
        if member.join_version >= 4 and member.instance_id is None:
            # Everybody has an id before anybody joins again, else each of them would begin a rebalance.
            request = join_request(member.group, "", **member.join_fields)
            member.member_id = member.peer.ask(JOIN, member.join_version, request).member_id
        member.send_join()
    if others:
        first.send_join()
        for member in members:
            member.read_join()
        for member in members:
            member.send_sync()
        for member in members:
            member.peer.read(SYNC, 5)
