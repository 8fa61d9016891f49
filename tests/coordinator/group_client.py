"""A client of a group that calls the coordinator directly, as a consumer would through its protocol."""

import gevent

from portask.coordinator.member import JoinRequest
from portask.errors import MemberIdRequiredError

PROTOCOLS = [("range", b"subscription")]


def wait(event, timeout_s):
    """What a connection does that never ends."""
    return event.wait(timeout_s)


class GroupClient:
    """One client. What blocks runs in a greenlet of its own, which the test looks at."""

    def __init__(self, coordinator, group_id="g", instance_id=None, protocols=PROTOCOLS, **more):
        self.coordinator = coordinator
        self.group_id = group_id
        self.instance_id = instance_id
        self.protocols = protocols
        self.protocol_type = more.pop("protocol_type", "test")
        self.session_timeout_ms = more.pop("session_timeout_ms", 10_000)
        self.rebalance_timeout_ms = more.pop("rebalance_timeout_ms", 60_000)
        self.more = {"client_id": "client", **more}
        self.member_id = ""
        self.generation = -1
        self.joined = None

    def request(self, **changes):
        values = {
            "member_id": self.member_id,
            "instance_id": self.instance_id,
            "session_timeout_ms": self.session_timeout_ms,
            "rebalance_timeout_ms": self.rebalance_timeout_ms,
            "protocol_type": self.protocol_type,
            "protocols": self.protocols,
            **self.more,
        }
        return JoinRequest(**{**values, **changes})

    def join(self, wait=wait, **changes):
        """Join, again with the id it is given if that is asked for. Blocks."""
        try:
            joined = self.coordinator.join(self.group_id, self.request(**changes), wait)
        except MemberIdRequiredError as error:
            self.member_id = error.member_id
            joined = self.coordinator.join(self.group_id, self.request(**changes), wait)
        self.member_id, self.generation, self.joined = joined.member_id, joined.generation, joined
        return joined

    def sync(self, assignments=None, **changes):
        """Ask for the assignment; the leader assigns each member its own id unless *assignments* say otherwise."""
        if assignments is None:
            assignments = {peer.member_id: peer.member_id.encode() for peer in self.joined.peers}
        values = {"instance_id": self.instance_id, "generation": self.generation, **changes}
        synced = self.coordinator.sync(
            self.group_id,
            self.member_id,
            values["instance_id"],
            values["generation"],
            values.get("protocol_type"),
            values.get("protocol"),
            assignments,
            wait,
        )
        return synced.assignment

    def start(self, call, *arguments, **more):
        """Run *call* in a greenlet; its exceptions are the test's to look at."""
        greenlet = gevent.Greenlet(_outcome, call, *arguments, **more)
        greenlet.start()
        gevent.idle()
        return greenlet

    def start_join(self, **changes):
        return self.start(self.join, **changes)

    def start_sync(self, *arguments, **changes):
        return self.start(self.sync, *arguments, **changes)

    def heartbeat(self):
        self.coordinator.heartbeat(self.group_id, self.member_id, self.instance_id, self.generation)

    def leave(self):
        return self.coordinator.leave(self.group_id, [(self.member_id, self.instance_id)])

    def commit(self, offsets):
        self.coordinator.commit(self.group_id, self.member_id, self.instance_id, self.generation, offsets)


def _outcome(call, *arguments, **more):
    """The value of *call*, or the exception that it raised."""
    try:
        return call(*arguments, **more)
    except Exception as error:
        return error


def result(greenlet, timeout_s=5):
    """What the greenlet came to; raises what it raised."""
    value = greenlet.get(timeout=timeout_s)
    if isinstance(value, Exception):
        raise value
    return value


def form(clients):
    """Have *clients* become one generation, each with its assignment; the first one leads. Blocks."""
    first, *others = clients
    if not first.member_id:
        first.join()
        result(first.start_sync())
    joins = [client.start_join() for client in (*others, first)]
    for join in joins:
        result(join)
    syncs = [client.start_sync() for client in clients]
    return [result(sync) for sync in syncs]
