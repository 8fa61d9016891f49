"""Field tables: the maps that AMQP 0-9-1 carries as arguments and headers, with RabbitMQ's letters for the types.

    table := size:u32 (name value)*         name  := length:u8 bytes
    array := size:u32 value*                value := letter and what it says:

    t bool  b i8  B u8  s i16  u u16  I i32  i u32  l L i64  f float  d double  D scale:u8 i32
    S length:u32 UTF-8   x length:u32 bytes   T seconds:u64   A array   F table   V nothing

Values survive decoding and encoding, their letters may not: an integer becomes I or l, a float d, text S and
bytes x; `split_table` keeps them. What is not UTF-8 in an S decodes to bytes, in a name to surrogates. Of equal
names the last counts.
Nesting is bounded, and nothing is made of a size before it is known to fit.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct
from struct import error as StructError
from typing import Any

from portask.errors import ProtocolError

Buffer = bytes | bytearray | memoryview

MAX_DEPTH = 32
"""Tables and arrays inside each other, the outermost included. RabbitMQ's own headers need four."""

_SIZE = Struct(">I")
_INT32 = Struct(">ci")
_INT64 = Struct(">cq")
_DOUBLE = Struct(">cd")
_DECIMAL = Struct(">cBi")
_TIMESTAMP = Struct(">cQ")
_MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999, beyond which there is no datetime."""
_MAX_DIGITS = 10
"""More than an i32 has."""
_FIXED = {
    ord(letter): (struct.unpack_from, struct.size)
    for letter, struct in {
        "b": Struct(">b"),
        "B": Struct(">B"),
        "s": Struct(">h"),
        "u": Struct(">H"),
        "I": Struct(">i"),
        "i": Struct(">I"),
        "l": Struct(">q"),
        "L": Struct(">q"),
        "f": Struct(">f"),
        "d": Struct(">d"),
        "t": Struct(">?"),
    }.items()
}
_SIZES = {letter: size for letter, (_, size) in _FIXED.items()} | {ord("V"): 0, ord("D"): 5, ord("T"): 8}
_DECIMAL_VALUE = Struct(">Bi")
_TIMESTAMP_VALUE = Struct(">Q")
_TEXT, _BYTES, _ARRAY, _TABLE, _VOID = b"SxAFV"
_DECIMAL_LETTER, _TIMESTAMP_LETTER = b"DT"


class Timestamp(int):
    """Seconds since 1970 of a T that no datetime can be: some peers put milliseconds there."""


# -- decoding ---------------------------------------------------------------------------------------------------------


def decode_table(data: Buffer, position: int = 0) -> tuple[dict[str, Any], int]:
    """The table at *position*, and the position after it. Raises ProtocolError, nothing else."""
    try:
        return _table(data, position, len(data), MAX_DEPTH)
    except (IndexError, StructError) as error:
        raise ProtocolError("a field table is cut short") from error


def decode_fields(data: Buffer) -> dict[str, Any]:
    """The table that all of *data* is, without a size before it. Raises ProtocolError, nothing else."""
    try:
        return _fields(data, 0, len(data), MAX_DEPTH)
    except (IndexError, StructError) as error:
        raise ProtocolError("a field table is cut short") from error


def split_table(table: bytes) -> dict[str, bytes]:
    """The fields of an encoded *table*, which can be decoded, by name: each as it stands there, its name included."""
    fields = {}
    position, end = 4, len(table)
    while position < end:
        start = position
        position += 1 + table[position]
        name = str(table[start + 1 : position], "utf-8", "surrogateescape")
        size = _SIZES.get(table[position])
        position += 5 + _SIZE.unpack_from(table, position + 1)[0] if size is None else 1 + size
        fields[name] = table[start:position]
    return fields


def _stop(data: Buffer, position: int, end: int) -> int:
    """Where the table, array or string ends whose size stands at *position*."""
    stop: int = position + 4 + _SIZE.unpack_from(data, position)[0]
    if stop > end:
        raise ProtocolError(f"a field of {stop - position - 4} bytes is longer than what it stands in")
    return stop


def _table(data: Buffer, position: int, end: int, depth: int) -> tuple[dict[str, Any], int]:
    stop = _stop(data, position, end)
    return _fields(data, position + 4, stop, depth), stop


def _fields(data: Buffer, position: int, stop: int, depth: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    while position < stop:
        start = position + 1
        position = start + data[position]
        name = str(data[start:position], "utf-8", "surrogateescape")
        table[name], position = _value(data, position, stop, depth)
    # One check at the end is enough: every read above raised or moved the position on.
    if position > stop:
        raise ProtocolError("a field is longer than the table it stands in")
    return table


def _array(data: Buffer, position: int, end: int, depth: int) -> tuple[list[Any], int]:
    stop = _stop(data, position, end)
    position += 4
    array = []
    while position < stop:
        value, position = _value(data, position, stop, depth)
        array.append(value)
    if position > stop:
        raise ProtocolError("a field is longer than the array it stands in")
    return array, stop


def _value(data: Buffer, position: int, end: int, depth: int) -> tuple[Any, int]:
    letter = data[position]
    position += 1
    if letter == _TEXT:
        stop = _stop(data, position, end)
        try:
            return str(data[position + 4 : stop], "utf-8"), stop
        except UnicodeDecodeError:
            return bytes(data[position + 4 : stop]), stop
    if letter in _FIXED:
        unpack_from, size = _FIXED[letter]
        return unpack_from(data, position)[0], position + size
    if letter in (_TABLE, _ARRAY):
        if depth == 1:
            raise ProtocolError(f"field tables are nested more than {MAX_DEPTH} deep")
        return (_table if letter == _TABLE else _array)(data, position, end, depth - 1)
    return _rare_value(letter, data, position, end)


def _rare_value(letter: int, data: Buffer, position: int, end: int) -> tuple[Any, int]:
    if letter == _VOID:
        return None, position
    if letter == _BYTES:
        stop = _stop(data, position, end)
        return bytes(data[position + 4 : stop]), stop
    if letter == _TIMESTAMP_LETTER:
        seconds = _TIMESTAMP_VALUE.unpack_from(data, position)[0]
        value = datetime.fromtimestamp(seconds, UTC) if seconds <= _MAX_SECONDS else Timestamp(seconds)
        return value, position + _TIMESTAMP_VALUE.size
    if letter == _DECIMAL_LETTER:
        scale, unscaled = _DECIMAL_VALUE.unpack_from(data, position)
        return Decimal(unscaled).scaleb(-scale), position + _DECIMAL_VALUE.size
    raise ProtocolError(f"{chr(letter)!r} is not the letter of a field's type")


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode_table(table: Mapping[str, Any]) -> bytes:
    """*table* with its size before it. Raises ValueError for what no table can hold."""
    out = bytearray()
    _add_table(out, table, MAX_DEPTH)
    return bytes(out)


def join_table(fields: Mapping[str, bytes]) -> bytes:
    """The encoded table of *fields* as `split_table` gives them."""
    data = b"".join(fields.values())
    return _SIZE.pack(len(data)) + data


def encode_field(name: str, value: bytes) -> bytes:
    """A field of `join_table`: *value* is its letter and what that says."""
    encoded = name.encode("utf-8", "surrogateescape")
    return bytes((len(encoded),)) + encoded + value


def encode_long(value: int) -> bytes:
    """*value* in 64 bits however small it is: RabbitMQ's counts are so, and Java's client tells integers apart."""
    return _INT64.pack(b"l", value)


def _add_table(out: bytearray, table: Mapping[str, Any], depth: int) -> None:
    start = len(out)
    out += b"\0\0\0\0"
    for name, value in table.items():
        encoded = name.encode("utf-8", "surrogateescape")
        out.append(len(encoded))
        out += encoded
        _add_value(out, value, depth)
    _SIZE.pack_into(out, start, len(out) - start - 4)


def _add_array(out: bytearray, array: list[Any] | tuple[Any, ...], depth: int) -> None:
    start = len(out)
    out += b"\0\0\0\0"
    for value in array:
        _add_value(out, value, depth)
    _SIZE.pack_into(out, start, len(out) - start - 4)


def _add_value(out: bytearray, value: Any, depth: int) -> None:
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogateescape")
        out += b"S" + _SIZE.pack(len(encoded)) + encoded
    elif isinstance(value, int):
        out += _integer(value)
    elif value is None:
        out += b"V"
    elif isinstance(value, list | tuple | Mapping):
        if depth == 1:
            raise ValueError(f"field tables are nested more than {MAX_DEPTH} deep")
        if isinstance(value, Mapping):
            out += b"F"
            _add_table(out, value, depth - 1)
        else:
            out += b"A"
            _add_array(out, value, depth - 1)
    else:
        out += _rare(value)


def _integer(value: int) -> bytes:
    if isinstance(value, bool):
        return b"t\1" if value else b"t\0"
    if isinstance(value, Timestamp):
        return _TIMESTAMP.pack(b"T", value)
    if -(1 << 31) <= value < 1 << 31:
        return _INT32.pack(b"I", value)
    if -(1 << 63) <= value < 1 << 63:
        return _INT64.pack(b"l", value)
    raise ValueError(f"{value} is more than 64 bits")


def _rare(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return b"x" + _SIZE.pack(len(value)) + value
    if isinstance(value, float):
        return _DOUBLE.pack(b"d", value)
    if isinstance(value, datetime):
        seconds = timegm(value.utctimetuple())
        if seconds < 0:
            raise ValueError(f"{value} is before 1970")
        return _TIMESTAMP.pack(b"T", seconds)
    if isinstance(value, Decimal):
        return _decimal(value)
    raise ValueError(f"a field table holds no {type(value).__name__}")


def _decimal(value: Decimal) -> bytes:
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or len(digits) > _MAX_DIGITS or exponent > _MAX_DIGITS:
        raise ValueError(f"{value} is no decimal of 32 bits")
    unscaled = int("".join(map(str, digits))) * 10 ** max(0, exponent)
    try:
        return _DECIMAL.pack(b"D", max(0, -exponent), -unscaled if value.is_signed() else unscaled)
    except StructError as error:
        raise ValueError(f"{value} is no decimal of 32 bits") from error
