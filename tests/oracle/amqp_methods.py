"""Methods as pamqp and pika have them, with our names."""

import inspect
from typing import NamedTuple

import pamqp.base
import pamqp.commands
import pika.spec

TYPES = {
    "octet": "uint8",
    "short": "uint16",
    "long": "uint32",
    "longlong": "uint64",
    "shortstr": "short_string",
    "longstr": "long_string",
    "bit": "bit",
    "table": "table",
}
PAMQP_NAMES = {"exchange_type": "type"}
PIKA_NAMES = {"global_qos": "global_"}


class Oracle(NamedTuple):
    """A method of another package."""

    cls: type
    arguments: dict[str, str]
    """Our name of each argument, and theirs."""


def pamqp_methods():
    """All methods of pamqp by class and method. It lacks class access."""
    found = {}
    for _, group in inspect.getmembers(pamqp.commands, inspect.isclass):
        for _, cls in inspect.getmembers(group, inspect.isclass):
            if issubclass(cls, pamqp.base.Frame):
                arguments = {PAMQP_NAMES.get(name, name): name for name in cls.__slots__}
                found[divmod(cls.index, 1 << 16)] = Oracle(cls, arguments)
    return found


def pika_methods():
    """All methods of pika by class and method."""
    found = {}
    for index, cls in pika.spec.methods.items():
        names = list(inspect.signature(cls.__init__).parameters)[1:]
        found[divmod(index, 1 << 16)] = Oracle(cls, {PIKA_NAMES.get(name, name): name for name in names})
    return found


PAMQP = pamqp_methods()
PIKA = pika_methods()
