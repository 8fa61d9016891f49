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


class MessageTooLargeError(UsageError):
    """A message is larger than `max_message_bytes`."""


class OffsetOutOfRangeError(UsageError):
    """The offset lies before the log's start or beyond its end."""


class NotInFlightError(UsageError):
    """A settled message was not in flight for this consumer."""


class SubscriptionInUseError(UsageError):
    """The subscription has consumers, or is held exclusively by one."""


class UnavailableError(PortaskError):
    """Not possible now; the same request may succeed later."""


class ShuttingDownError(UnavailableError):
    """The broker is stopping and takes nothing new."""


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
