"""A session: what a connection is to the APIs that it calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import gevent
from gevent.event import Event

from portask.errors import InvalidTopicError, UnknownTopicError

if TYPE_CHECKING:
    from handlers.kafka.fetch_session import FetchSessions
    from handlers.kafka.software import SoftwareNames
    from portask.broker import Broker
    from portask.config import Settings
    from portask.partition import Partition

ANONYMOUS = "User:ANONYMOUS"


class Node(NamedTuple):
    """This broker as its peers know it."""

    node_id: int
    rack: str | None


class Session:
    """One peer: who it says it is, and how it sees this broker."""

    def __init__(
        self,
        broker: Broker,
        fetch_sessions: FetchSessions,
        software_names: SoftwareNames,
        advertised: tuple[str, int],
        client_host: str,
        connection_id: int,
    ) -> None:
        self.broker = broker
        self.settings: Settings = broker.settings
        self.fetch_sessions = fetch_sessions
        self._software_names = software_names
        self.node = Node(broker.settings.node_id, None)
        self.advertised = advertised
        """Host and port that peers are told to reach this broker at."""
        self.client_host = client_host
        self.connection_id = connection_id
        self.client_id = ""
        self.principal = ANONYMOUS
        """Who the peer has proven to be."""
        self.software_name: str | None = None
        """The client library, as ApiVersions 3 and later say, "" below; None before it was called."""
        self.software_version = ""
        self.messages_in = 0
        self.messages_out = 0
        self.wake = Event()
        """Set when something that the running request waits for has happened."""
        self.interrupted = Event()
        """Set when the connection is to end: nothing is waited for any more."""

    @property
    def cluster_id(self) -> str:
        """The id of the cluster that this broker is all of."""
        return self.broker.cluster_id

    def partition(self, topic: str, number: int) -> Partition:
        """The partition of that number. Raises UnknownPartitionError, or UnknownTopicError, whatever the name."""
        try:
            return self.broker.topic(topic).partition(number)
        except InvalidTopicError as error:
            raise UnknownTopicError(str(error)) from error

    def announce(self, name: str, version: str) -> None:
        """The peer says what it is, or asks for versions without saying."""
        self.software_name, self.software_version = name, version
        self._software_names.announce((self.client_host, self.client_id), name)

    @property
    def library(self) -> str:
        """The peer's library, as it or another connection of the same client has said; "" when that is not known."""
        if self.software_name is not None:
            return self.software_name
        return self._software_names.find((self.client_host, self.client_id))

    def interrupt(self) -> None:
        """Let a wait end now, and every later one at once."""
        self.interrupted.set()
        self.wake.set()

    def wait(self, event: Event, timeout_s: float) -> bool:
        """Whether *event* was set within *timeout_s*; False also when the connection is to end. Blocks."""
        gevent.wait((event, self.interrupted), timeout_s, 1)
        return event.is_set() and not self.interrupted.is_set()

    def pause(self, timeout_s: float) -> bool:
        """Wait until `wake` is set or *timeout_s* are over; False when the connection is to end. Blocks."""
        if not self.interrupted.is_set():
            self.wake.wait(timeout_s)
        return not self.interrupted.is_set()
