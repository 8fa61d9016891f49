"""Record batches as producers send them, well made and not."""

from crc32c import crc32c

from handlers.kafka.record_batch import HEADER, HEADER_BYTES, read_header
from tests.kafka.record_samples import NOW, build


def batch(*values, key=b"k", timestamp=NOW, compression=0, producer=(-1, -1, -1)):
    """A batch of a record for each of *values*; *producer* is id, epoch and base sequence."""
    records = [(timestamp, key, value, []) for value in values or (b"value",)]
    return build(records, compression, producer=producer)


def changed(made, *, checksum=True, **fields):
    """The batch *made* with other *fields* in its header, and a checksum that fits unless told otherwise."""
    header = read_header(made)._replace(**fields)
    data = HEADER.pack(*header) + made[HEADER_BYTES:]
    if checksum and "crc" not in fields:
        data = HEADER.pack(*header._replace(crc=crc32c(data[21:]))) + made[HEADER_BYTES:]
    return data


def split(records):
    """The batches that *records*, as fetched, consist of; every checksum is checked."""
    records = bytes(records)
    found = []
    while records:
        size = read_header(records).size
        one, records = records[:size], records[size:]
        assert len(one) == size
        assert crc32c(one[21:]) == read_header(one).crc
        found.append(one)
    return found


def offsets(records):
    """First and last offset of each batch in *records*, as fetched."""
    headers = [read_header(one) for one in split(records)]
    return [(header.base_offset, header.base_offset + header.last_offset_delta) for header in headers]


def placed(made, base_offset):
    """The batch *made* as it is fetched from *base_offset*."""
    return changed(made, checksum=False, base_offset=base_offset, leader_epoch=0)
