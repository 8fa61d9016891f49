"""What some topics demand of each record; only theirs are opened when they are produced.

cleanup.policy=compact            every record has a key
message.timestamp.after.max.ms    none is from too far in the future; the header's newest timestamp tells
message.timestamp.before.max.ms   none is too old; the header does not tell, so those are looked at
"""

from __future__ import annotations

from typing import NamedTuple

from handlers.kafka.record_batch import (
    HEADER_BYTES,
    BatchHeader,
    InvalidBatchError,
    InvalidBatchTimestampError,
    RefusedBatchError,
)
from handlers.kafka.record_compression import decompress
from handlers.kafka.records import decode_records, survey_records
from portask.errors import ProtocolError
from portask.message import NO_TIMESTAMP

MAX_RECORDS_BYTES = 64 * 1024 * 1024
"""No batch that has to be looked into may decompress to more: Kafka's limit for a batch is one 64th of that."""
FOREVER = (1 << 63) - 1
MAX_BLAMED = 100
"""Records of one batch that are named; a batch may have millions that are wrong."""


class Demands(NamedTuple):
    """The settings of a topic that concern single records."""

    keys: bool
    before_max_ms: int
    after_max_ms: int

    @property
    def need_records(self) -> bool:
        """Whether the header of a batch is not enough."""
        return self.keys or self.before_max_ms < FOREVER


def check_header(header: BatchHeader, demands: Demands, now_ms: int) -> None:
    """Raise InvalidBatchTimestampError when the newest record is from too far in the future."""
    if header.max_timestamp - now_ms > demands.after_max_ms:
        raise InvalidBatchTimestampError(
            f"a timestamp of {header.max_timestamp} is more than {demands.after_max_ms} ms ahead of {now_ms}"
        )


def check_records(batch: memoryview, header: BatchHeader, demands: Demands, now_ms: int) -> None:
    """Raise InvalidBatchError or InvalidBatchTimestampError when a record is not what the topic takes.

    Takes 0.3 us a record for keys, 0.6 us for timestamps.
    """
    try:
        records = decompress(header.compression, batch[HEADER_BYTES : header.size], MAX_RECORDS_BYTES)
        if demands.keys:
            keyless = survey_records(records, header.count, header.last_offset_delta).keyless
            if keyless:
                raise InvalidBatchError(
                    f"record {keyless[0]} has no key, and the topic is compacted by key", keyless[:MAX_BLAMED]
                )
        if demands.before_max_ms < FOREVER:
            fields = decode_records(records, header.count, header.last_offset_delta)
            oldest = now_ms - demands.before_max_ms - header.base_timestamp
            # A record without a timestamp, -1, is as old as it is taken to be.
            none = NO_TIMESTAMP - header.base_timestamp
            early = [index for index, field in enumerate(fields) if field[1] < oldest and field[1] != none]
            if early:
                timestamp = header.base_timestamp + fields[early[0]][1]
                raise InvalidBatchTimestampError(
                    f"a timestamp of {timestamp} is more than {demands.before_max_ms} ms behind {now_ms}",
                    early[:MAX_BLAMED],
                )
    except RefusedBatchError:
        raise
    except ProtocolError as error:
        raise InvalidBatchError(f"the records cannot be read: {error}") from error
