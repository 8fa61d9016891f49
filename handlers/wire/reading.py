"""What generated decoders call where inline code would gain nothing: varints, unknown tags, refusals."""

from __future__ import annotations

from portask.errors import ProtocolError

Buffer = bytes | bytearray | memoryview

MAX_VARINT_BYTES = 5
_MAX_UINT32 = (1 << 32) - 1


def read_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """The unsigned varint at *position*, at most 32 bits of it, and the position after it.

    Raises IndexError when the buffer ends inside, which decoders turn into ProtocolError.
    """
    value = 0
    for index in range(MAX_VARINT_BYTES):
        byte = buffer[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value > _MAX_UINT32:
                break
            return value, position + index + 1
    raise ProtocolError("a varint is longer than 32 bits")


def read_tag_count(buffer: Buffer, position: int, end: int, room: int) -> tuple[int, int]:
    """The number of tagged fields that follow, no more than *room*, and the position of the first."""
    count, position = read_varint(buffer, position)
    # The shortest is its tag and a size of nothing: two bytes.
    if 2 * count > end - position or count > room:
        raise ProtocolError(
            f"{count} tagged fields are too many, or do not fit into the {end - position} bytes that are left"
        )
    return count, position


def read_tag(buffer: Buffer, position: int, end: int, previous: int) -> tuple[int, int, int]:
    """Tag, position of the value and position after it of a tagged field that follows tag *previous*."""
    tag, position = read_varint(buffer, position)
    size, position = read_varint(buffer, position)
    if tag <= previous:
        raise ProtocolError(f"tagged field {tag} follows {previous}")
    if size > end - position:
        raise ProtocolError(f"tagged field {tag} of {size} bytes is longer than the {end - position} that are left")
    return tag, position, position + size


def skip_tags(buffer: Buffer, position: int, end: int, room: int) -> tuple[int, int]:
    """What is left of *room* after the tagged fields at *position*, none of which is known, and their end."""
    count, position = read_tag_count(buffer, position, end, room)
    tag = -1
    for _ in range(count):
        tag, _, position = read_tag(buffer, position, end, tag)
    return room - count, position


def wrong_length(name: str, size: int, left: int) -> ProtocolError:
    """The refusal of a string, bytes or records field whose length can't be right."""
    if size < 0:
        return ProtocolError(f"{name} is null or has a negative length")
    return ProtocolError(f"{name} of {size} bytes is too long, or longer than the {left} that are left")


def wrong_count(name: str, count: int, left: int) -> ProtocolError:
    """The refusal of an array whose count can't be right."""
    if count < 0:
        return ProtocolError(f"{name} is null or has a negative count")
    return ProtocolError(f"{count} elements of {name} are too many, or do not fit into the {left} bytes that are left")
