"""What generated encoders call where inline code would gain nothing: varints, large values."""

from __future__ import annotations

from handlers.wire.reading import Buffer

COPIED_BYTES = 256
"""Shorter values are copied: joining one more piece costs more than that."""


def write_varint(value: int) -> bytes:
    """*value* as an unsigned varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def size_of(value: Buffer | list[Buffer]) -> int:
    """Bytes in a buffer, or in all buffers of a list."""
    if isinstance(value, list):
        return sum(map(len, value))
    return len(value)


def add_pieces(pieces: list[Buffer], out: bytearray, value: Buffer | list[Buffer], size: int) -> bytearray:
    """Add *value*, a buffer or a list of them, behind *out*; return where what follows is to be written."""
    if size < COPIED_BYTES:
        out += b"".join(value) if isinstance(value, list) else value
        return out
    pieces.append(out)
    if isinstance(value, list):
        pieces.extend(value)
    else:
        pieces.append(value)
    return bytearray()


def write_tag(tags: bytearray, tag: int, pieces: list[Buffer]) -> None:
    """Add to *tags* the tagged field whose value *pieces* are."""
    value = b"".join(pieces)
    tags += write_varint(tag) + write_varint(len(value)) + value
