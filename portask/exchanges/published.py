"""A message on its way through exchanges: what they look at to decide where it goes.

Most look at nothing but the routing key. The content header is decoded for those that ask, once per message
however many exchanges it passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from portask.errors import ProtocolError
from portask.properties import Properties, decode_header

_NO_PROPERTIES = Properties()
_NO_HEADERS: Mapping[str, Any] = {}


class Published:
    """Routing keys and content header of one message."""

    __slots__ = ("_header", "_properties", "keys")

    def __init__(self, keys: Sequence[str], header: bytes) -> None:
        self.keys = keys
        """The routing key, then those of the headers CC and BCC."""
        self._header = header
        self._properties: Properties | None = None

    @property
    def properties(self) -> Properties:
        """The decoded properties; none at all when they cannot be decoded."""
        if self._properties is None:
            self._properties = _NO_PROPERTIES
            if self._header:
                # One that cannot be decoded came by another protocol, or its handler has answered for it.
                with suppress(ProtocolError):
                    self._properties = decode_header(self._header)
        return self._properties

    @property
    def headers(self) -> Mapping[str, Any]:
        """The application headers."""
        return self.properties.headers or _NO_HEADERS
