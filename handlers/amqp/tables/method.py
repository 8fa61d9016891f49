"""A method of AMQP 0-9-1: its numbers, and its arguments as a table of wire fields."""

from __future__ import annotations

from functools import cached_property
from struct import Struct
from typing import Any

from handlers.wire import Buffer, Decode, Encode, Message
from handlers.wire.declaration import Versions
from portask.errors import ProtocolError

_IDS = Struct(">HH")
_VERSIONS = Versions(0, 0)


class Method:
    """One method. Its class and functions are made at first use."""

    def __init__(self, class_id: int, method_id: int, name: str, text: str) -> None:
        self.class_id = class_id
        self.method_id = method_id
        self.name = name
        """As the specification has it, such as "queue.declare-ok"."""
        self.is_synchronous = False
        """Whether an answer is waited for, unless its argument `nowait` says otherwise."""
        self.has_content = False
        """Whether a content header and a body follow."""
        self._ids = _IDS.pack(class_id, method_id)
        self._message = Message(
            "".join(word.capitalize() for word in name.replace("-", ".").split(".")), text, _VERSIONS, None
        )

    def __repr__(self) -> str:
        return f"<Method {self.class_id}.{self.method_id} {self.name}>"

    @cached_property
    def value(self) -> Any:
        """The class of its values: arguments by keyword, every one defaulted; its `method` is this."""
        cls = self._message.value
        cls.method = self
        return cls

    @cached_property
    def arguments(self) -> list[tuple[str, str, object]]:
        """Name, type and default of each argument."""
        return [(field.name, field.type, field.default) for field in self._message.structure.fields]

    def decode(self, payload: Buffer, position: int = _IDS.size) -> Any:
        """The value whose arguments *payload* has from *position* to its end. Raises ProtocolError."""
        value, position = self._decode(payload, position, len(payload))
        if position != len(payload):
            raise ProtocolError(f"{len(payload) - position} bytes follow the arguments of {self.name}")
        return value

    def encode(self, value: Any) -> bytes:
        """The payload of a method frame, with the numbers of class and method.

        Raises TypeError, ValueError or struct.error for what an argument can't hold, as short strings of 256 bytes.
        """
        return b"".join((self._ids, *self._encode(value)))

    @cached_property
    def _decode(self) -> Decode:
        _ = self.value  # so that the class knows its method before there are values of it
        return self._message.decode(0)

    @cached_property
    def _encode(self) -> Encode:
        return self._message.encode(0)


def method(class_id: int, method_id: int, name: str, text: str = "") -> Method:
    """The method that the table *text* declares; nobody answers it."""
    return Method(class_id, method_id, name, text)


def synchronous(class_id: int, method_id: int, name: str, text: str = "") -> Method:
    """The method that the table *text* declares; it is answered."""
    made = method(class_id, method_id, name, text)
    made.is_synchronous = True
    return made


def with_content(class_id: int, method_id: int, name: str, text: str) -> Method:
    """The method that the table *text* declares; a message follows it."""
    made = method(class_id, method_id, name, text)
    made.has_content = True
    return made
