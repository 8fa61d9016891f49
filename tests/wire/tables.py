"""Small tables for the tests of the compiler, and values for those of the Kafka tables."""

from handlers.wire import Message
from handlers.wire.declaration import Versions
from handlers.wire.types import TYPES, Fixed


def table(text, first=0, last=3, flexible=None):
    """A message of the name T."""
    return Message("T", text, Versions(first, last), flexible)


def encoded(message, version, value):
    return b"".join(message.encode(version)(value))


def decoded(message, version, data):
    """The value that *data* is, all of it."""
    value, position = message.decode(version)(data, 0, len(data))
    assert position == len(data)
    return value


def full_value(message, version):
    """A short value of *version* with every field set: one element per array, nothing null or default."""
    return _full_structure(message, message.structure, version)


def _full_structure(message, structure, version):
    fields = {field.name: _full_field(message, field, version) for field in structure.fields_of(version)}
    fields |= {field.name: _full_field(message, field, version) for field in structure.tagged_fields_of(version)}
    return message.classes[structure.name](**fields)


def _full_field(message, field, version):
    if field.structure is not None:
        element = _full_structure(message, field.structure, version)
    else:
        element = {"string": "ab", "bytes": b"cd", "records": b"ef", "uuid": b"u" * 16, "bool": True}.get(field.type, 7)
        assert field.type in TYPES
        assert isinstance(TYPES[field.type], Fixed) or element != TYPES[field.type].default
    return [element] if field.is_array else element
