"""The types that a field can have: one table, read by both generators.

A `Fixed` type always takes the same number of bytes, so neighbours are merged into one call of `struct`. A
`Counted` type is its length followed by that many bytes; the length is a number of fixed size or, in the
compact form, an unsigned varint of the length plus one. A length of -1 is null. Neighbouring `Bit` fields
share a byte, the first in its lowest bit. A `Table` is read and written by `portask.field_table`.
"""

from __future__ import annotations

from struct import calcsize
from typing import NamedTuple

COUNT_CODE = "i"
"""`struct` code of an array's count where it is not compact."""


class Fixed(NamedTuple):
    """A type of one size."""

    code: str
    """Its `struct` code."""
    default: object

    @property
    def size_bytes(self) -> int:
        """Bytes that a value takes."""
        return calcsize(">" + self.code)

    @property
    def repeats(self) -> bool:
        """Whether a count before the code makes so many values of it; that of "16s" would make one longer string."""
        return len(self.code) == 1


class Counted(NamedTuple):
    """A type of varying length."""

    code: str
    """`struct` code of its length where that is not compact."""
    max_length: int
    """Longest value in bytes; compact lengths could say more."""
    decode: str
    """Expression over `buffer`, `position` and `stop`."""
    encode: str
    """Expression over `value` that gives a buffer."""
    default: object
    is_piecewise: bool = False
    """Large values, and lists of buffers, are passed on without a copy."""


class Bit(NamedTuple):
    """A truth value that takes one bit."""

    default: bool = False
    code: str = ""


class Table(NamedTuple):
    """An AMQP field table, a dict."""

    code: str = "I"
    """`struct` code of its length."""

    @property
    def default(self) -> object:
        """An empty one, never shared."""
        return {}


Type = Fixed | Counted | Bit | Table

TYPES: dict[str, Type] = {
    "bool": Fixed("?", default=False),
    "int8": Fixed("b", 0),
    "int16": Fixed("h", 0),
    "int32": Fixed("i", 0),
    "int64": Fixed("q", 0),
    "uint8": Fixed("B", 0),
    "uint16": Fixed("H", 0),
    "uint32": Fixed("I", 0),
    "uint64": Fixed("Q", 0),
    "float64": Fixed("d", 0.0),
    "uuid": Fixed("16s", bytes(16)),
    "string": Counted("h", (1 << 15) - 1, 'str(buffer[position:stop], "utf-8")', "value.encode()", ""),
    "bytes": Counted("i", (1 << 31) - 1, "bytes(buffer[position:stop])", "value", b"", is_piecewise=True),
    "records": Counted("i", (1 << 31) - 1, "memoryview(buffer)[position:stop]", "value", None, is_piecewise=True),
    # AMQP's. Names come from peers and go back to them as they were, whether they are UTF-8 or not.
    "short_string": Counted(
        "B",
        (1 << 8) - 1,
        'str(buffer[position:stop], "utf-8", "surrogateescape")',
        'value.encode("utf-8", "surrogateescape")',
        "",
    ),
    "long_string": Counted("I", (1 << 32) - 1, "bytes(buffer[position:stop])", "value", b""),
    "bit": Bit(),
    "table": Table(),
}
