"""Parameters: what RabbitMQ's plugins are told, kept for those who ask for it.

    table "parameters"   CBOR [virtual host, component, name] -> JSON, or CBOR [name] -> JSON of a global one

Nothing here acts on a parameter. JSON, because that is what they come as, of any shape.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from portask.catalog import commit
from portask.errors import CorruptError, NotFoundError, ProtocolError
from portask.message import decode_cbor, encode_cbor
from portask.stored_text import check_name, to_json

if TYPE_CHECKING:
    from portask.bus import Bus
    from portask.storage.base import Round, Storage

PARAMETERS = "parameters"


class Parameter(NamedTuple):
    """Where a parameter belongs. A global one has neither virtual host nor component."""

    virtual_host: str | None
    component: str | None
    name: str


class Parameters:
    """All parameters with their values, which are what JSON can say."""

    def __init__(self, bus: Bus, storage: Storage) -> None:
        self._bus = bus
        self._storage = storage
        self._values: dict[Parameter, Any] = {}

    def load(self) -> None:
        """Restore everything. Raises CorruptError when a row is broken."""
        for key, row in self._storage.load(PARAMETERS).items():
            try:
                words = decode_cbor(key)
                parameter = Parameter(None, None, *words) if len(words) == 1 else Parameter(*words)
                self._values[parameter] = json.loads(row)
            except (ProtocolError, ValueError, TypeError) as error:
                raise CorruptError(f"a row of table {PARAMETERS} is broken: {error}") from error

    def items(self) -> list[tuple[Parameter, Any]]:
        """All parameters with their values, the global ones first."""
        return sorted(self._values.items(), key=lambda item: [word or "" for word in item[0]])

    def get(self, parameter: Parameter) -> Any:
        """Its value. Raises NotFoundError."""
        try:
            return self._values[parameter]
        except KeyError:
            raise NotFoundError(f"no parameter '{parameter.name}'") from None

    def find(self, parameter: Parameter) -> Any:
        """Its value, or None when it is not there."""
        return self._values.get(parameter)

    def put(self, parameter: Parameter, value: Any) -> None:
        """Set a parameter. Blocks until durable. Raises PreconditionError."""
        check_name("the name of a parameter or its component", *_words(parameter))
        row = to_json(value)

        def collect(round_: Round) -> None:
            round_.puts[PARAMETERS, _key(parameter)] = row

        commit(self._bus, collect)
        self._values[parameter] = value

    def delete(self, parameter: Parameter) -> None:
        """Delete a parameter. Blocks until durable. Raises NotFoundError."""
        self.get(parameter)

        def collect(round_: Round) -> None:
            round_.puts[PARAMETERS, _key(parameter)] = None

        commit(self._bus, collect)
        self._values.pop(parameter, None)

    def collect_virtual_host_deletion(self, virtual_host: str, round_: Round) -> None:
        """Have the parameters of a virtual host go with it in *round_*. Does not block."""
        for parameter in self._values:
            if parameter.virtual_host == virtual_host:
                round_.puts[PARAMETERS, _key(parameter)] = None

    def forget_virtual_host(self, virtual_host: str) -> None:
        """That round is durable."""
        self._values = {known: value for known, value in self._values.items() if known.virtual_host != virtual_host}


def _words(parameter: Parameter) -> list[str]:
    return [word for word in parameter if word is not None]


def _key(parameter: Parameter) -> bytes:
    return encode_cbor(_words(parameter))
