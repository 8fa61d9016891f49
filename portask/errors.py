"""What can go wrong, as the core says it.

Domain code raises the leaves of this tree. They carry a sentence that names the fix where there is
one, and no protocol's code: each handler has one table from these classes to its own codes.
"""


class PortaskError(Exception):
    """Base of everything that Portask raises on purpose."""


class ProtocolError(PortaskError):
    """Bytes that no rule of their format allows: from a peer, or damaged on the way."""


class ConfigError(PortaskError):
    """A configuration that cannot be used; the text names the place and the nearest valid name."""


class UsageError(PortaskError):
    """A request that can never succeed as it stands."""


class UnknownTopicError(UsageError):
    """There is no topic of that name."""


class UnknownPartitionError(UsageError):
    """The topic has no partition of that number."""


class UnknownSubscriptionError(UsageError):
    """The topic has no subscription of that name."""


class TopicExistsError(UsageError):
    """A topic of that name exists already."""


class InvalidTopicError(UsageError):
    """The name of a topic, or one of its settings, is not allowed."""


class InvalidPartitionsError(InvalidTopicError):
    """A topic cannot have that number of partitions."""


class MessageTooLargeError(UsageError):
    """A message is larger than `max_message_bytes`."""


class OffsetOutOfRangeError(UsageError):
    """The offset lies before the log's start or beyond its end."""


class NotInFlightError(UsageError):
    """A settled message was not in flight for this consumer."""


class SubscriptionInUseError(UsageError):
    """The subscription has consumers, or is held exclusively by one."""


class ProducerFencedError(UsageError):
    """A producer with a newer epoch has taken over from this one."""


class OutOfOrderSequenceError(UsageError):
    """A producer's batch does not follow the last one that is stored: one between them is missing."""


class GroupError(UsageError):
    """A consumer group refuses; each leaf is one answer that its clients know."""


class InvalidGroupError(GroupError):
    """No group can have that id."""


class UnknownGroupError(GroupError):
    """There is no group of that id."""


class GroupNotEmptyError(GroupError):
    """The group has members, so it cannot be deleted or changed from outside."""


class GroupFullError(GroupError):
    """The group has as many members as `group_max_size` allows."""


class GroupSubscribedError(GroupError):
    """Members of the group are subscribed to the topic."""


class UnknownMemberError(GroupError):
    """The group has no member of that id; the client joins anew."""


class FencedMemberError(GroupError):
    """Another client has taken over the instance id of this static member."""


class StaleGenerationError(GroupError):
    """The group has moved on to another generation."""


class InconsistentProtocolError(GroupError):
    """The member knows no protocol that all the others know too."""


class InvalidSessionTimeoutError(GroupError):
    """The session timeout is not within `group_min_session_timeout_ms` and `group_max_session_timeout_ms`."""


class OffsetMetadataTooLargeError(GroupError):
    """The text that goes with a committed offset is too long."""


class MemberIdRequiredError(GroupError):
    """The client is to join again with the id that it was given."""

    def __init__(self, member_id: str) -> None:
        super().__init__(f"join again as {member_id}")
        self.member_id = member_id


class QueueingError(UsageError):
    """Exchanges and queues refuse; each leaf is one answer that AMQP clients know."""


class NotFoundError(QueueingError):
    """There is no exchange, queue or virtual host of that name."""


class PreconditionError(QueueingError):
    """What exists differs from what was asked for, or an argument cannot be."""


class ConsumerTimeoutError(PreconditionError):
    """A delivery was not settled in the time that its queue allows."""


class AccessRefusedError(QueueingError):
    """The name is reserved, or the thing is for the broker's own use."""


class LockedQueueError(QueueingError):
    """The queue belongs to another connection alone."""


class NotAllowedError(QueueingError):
    """Not for anyone, whatever exists."""


class NotImplementedHereError(QueueingError):
    """The protocol knows it, this kind of queue does not."""


class QueueFullError(QueueingError):
    """The queue has as many messages as it may, and refuses more."""

    is_dead_lettered = False
    """What it has refused went to its dead letter exchange."""


class UnavailableError(PortaskError):
    """Not possible now; the same request may succeed later."""


class ShuttingDownError(UnavailableError):
    """The broker is stopping and takes nothing new."""


class RebalancingError(UnavailableError):
    """The group is between two generations; the client joins again."""


class CoordinatorUnavailableError(UnavailableError):
    """The group's coordinator cannot act now: it is starting, stopping, or storage refused what it had to keep."""


class StorageError(PortaskError):
    """Storage could not do what was asked."""


class StorageFullError(StorageError, UnavailableError):
    """No space left: nothing was written; retry when there is room again."""


class StorageFailedError(StorageError):
    """A write or a sync failed in a way that leaves the disk's state unknown; the log has stopped until a restart."""


class CorruptError(StorageError):
    """Stored bytes do not match their checksum; `portask verify` says where, `portask repair` sets them aside."""


class LockedError(StorageError):
    """Another process owns the data directory."""
