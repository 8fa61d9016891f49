"""What topics a classic group reads, as far as its members say it in a form that somebody here can read.

Metadata of members are bytes to the coordinator. A protocol that knows what is inside registers a
function for its protocol type; for all others nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from portask.errors import ProtocolError

CONSUMER = "consumer"
"""The protocol type of Kafka's consumers. While it isn't known what they read, it may be any topic."""

_READERS: dict[str, Callable[[bytes], Iterable[str]]] = {}


def register_metadata_reader(protocol_type: str, read: Callable[[bytes], Iterable[str]]) -> None:
    """Have *read* say which topics a member's metadata name. It may raise ProtocolError, and must not switch."""
    _READERS[protocol_type] = read


def subscribed_topics(protocol_type: str, metadata: Iterable[bytes]) -> frozenset[str] | None:
    """The topics that members with these *metadata* read; None when that cannot be told."""
    read = _READERS.get(protocol_type)
    if read is None:
        return None
    try:
        return frozenset(topic for one in metadata for topic in read(one))
    except ProtocolError:
        return None
