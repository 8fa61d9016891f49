"""Random values of a message: every field that a version has, within what all oracles can represent."""

import struct

from handlers.wire.types import TYPES, Fixed

WORDS = ["", "a", "orders", "größe", "x" * 126, "y" * 127, "z" * 300]
MAX_ITEMS = 3
LATEST_MS = 1 << 42
"""Milliseconds since 1970 that a datetime can be."""


def random_value(random, message, version):
    """A value of *version* of *message*; what the version lacks keeps its default."""
    return _structure(random, message, message.structure, version)


def _structure(random, message, structure, version):
    fields = {
        field.name: _field(random, message, field, version)
        for field in structure.fields
        if field.versions.covers(version)
    }
    return message.classes[structure.name](**fields)


def _field(random, message, field, version):
    may_be_null = field.is_nullable(version) or (field.tag is not None and field.default is None)
    if may_be_null and random.random() < 0.3:
        return None
    if field.is_array:
        return [_element(random, message, field, version) for _ in range(random.randint(0, MAX_ITEMS))]
    return _element(random, message, field, version)


def _element(random, message, field, version):
    if field.structure is not None:
        return _structure(random, message, field.structure, version)
    if field.name.endswith("error_code"):
        return random.randint(-1, 133)
    if field.type == "int64" and field.name.endswith(("_ms", "timestamp")):
        return random.choice([-1, 0, random.randrange(LATEST_MS)])
    return random_plain(random, field.type)


def random_plain(random, name):
    """A value of the type *name* of `TYPES`."""
    if name == "string":
        return random.choice(WORDS)
    if name in ("bytes", "records"):
        return random.randbytes(random.choice([0, 1, 100, 127, 255, 256, 1000]))
    kind = TYPES[name]
    assert isinstance(kind, Fixed)
    return struct.unpack(">" + kind.code, random.randbytes(kind.size_bytes))[0]
