"""Records as AMQP sees them: its own as they are, those of other protocols with a content header made for them.

message                     AMQP
payload                     body; a tombstone is an empty one
key                         routing key; the queue's name when there is none
headers, properties         properties, as portask.property_headers has them
timestamp                   timestamp, in seconds
topic, partition, offset    headers kafka.topic, kafka.partition, kafka.offset
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from portask.field_table import encode_field, encode_long, join_table, split_table
from portask.message import Record, to_message
from portask.properties import body_size_of, edited, encoded, is_packed, pack, properties_of, unpack
from portask.property_headers import TOMBSTONE, from_headers

if TYPE_CHECKING:
    from portask.queues.queue import Queue
    from portask.subscriptions.consumer import Delivery

OwnRecord = tuple[bytes, bytes, None, None, bytes]
"""Body, routing key, and properties as portask.properties packs them."""


def is_own(record: Record) -> TypeGuard[OwnRecord]:
    """Whether *record* was published by AMQP, or looks exactly as if."""
    if isinstance(record, bytes) or len(record) != 5 or record[2] is not None:
        return False
    body, key, _, _, properties = record
    if not isinstance(key, bytes) or len(key) > 255 or not properties or body is None:
        return False
    # Natives may say anything here, and what cannot be decoded would end the consumer's connection.
    return is_packed(properties) and body_size_of(unpack(properties)[1]) == len(body)


def to_own(record: Record, delivery: Delivery, offset: int, queue: str) -> OwnRecord:
    """*record*, which stands at *offset*, as an `OwnRecord`."""
    if is_own(record):
        return record
    message = to_message(record, delivery.timestamp)
    body = message.payload or b""
    packed = from_headers(message.properties, message.headers, len(body))
    properties = properties_of(packed)
    topic = delivery.partition.topic
    origin: dict[str, Any] = {
        "kafka.topic": topic.name,
        "kafka.partition": delivery.partition.number,
        "kafka.offset": offset,
    }
    if message.payload is None:
        origin[TOMBSTONE] = True
    timestamp = properties.timestamp if properties.timestamp is not None else max(0, message.timestamp // 1000)
    header = edited(unpack(packed)[1], headers={**(properties.headers or {}), **origin}, timestamp=timestamp)
    key = queue.encode("utf-8", "surrogateescape") if message.key is None else message.key
    return body, key[:255], None, None, pack(unpack(packed)[0], header)


def to_delivered(record: Record, delivery: Delivery, offset: int, queue: Queue) -> OwnRecord:
    """*record*, which stands at *offset*, with the header that its delivery gives it."""
    own = to_own(record, delivery, offset, queue.name)
    if queue.is_stream:
        return _with_header(own, "x-stream-offset", offset)
    if delivery.failures and queue.counts_deliveries:
        return _with_header(own, "x-delivery-count", delivery.failures)
    return own


def _with_header(record: OwnRecord, name: str, value: int) -> OwnRecord:
    """*record* with one more header, or another value of it."""
    body, key, _, _, packed = record
    exchange, header = unpack(packed)
    fields = split_table(encoded(header, "headers"))
    fields[name] = encode_field(name, encode_long(value))
    return body, key, None, None, pack(exchange, edited(header, headers=join_table(fields)))
