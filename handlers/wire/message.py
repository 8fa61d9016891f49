"""Messages: a declaration and, made at first use, its classes and the functions of each version."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from handlers.wire.declaration import Structure, Versions, parse
from handlers.wire.decoder import build_decoder
from handlers.wire.encoder import build_encoder
from handlers.wire.reading import Buffer
from handlers.wire.values import Value, build_classes

Decode = Callable[[Buffer, int, int], tuple[Any, int]]
"""`(buffer, position, end) -> (value, position after it)`. Raises ProtocolError, nothing else.

`records` are memoryviews of the buffer, all else is copied out of it.
"""
Encode = Callable[[Any], list[Buffer]]
"""`(value) -> pieces`, to be sent or joined. `bytes` and `records` of 256 bytes and more are not copied."""


class Message:
    """One kind of message in all its versions; those from *flexible* on are compact and have tagged fields."""

    def __init__(self, name: str, text: str, versions: Versions, flexible: int | None) -> None:
        self.name = name
        self.versions = versions
        self.flexible = flexible
        self._text = text
        self._decoders: dict[int, Decode] = {}
        self._encoders: dict[int, Encode] = {}

    @cached_property
    def structure(self) -> Structure:
        """What the text declares."""
        return parse(self.name, self._text, self.versions)

    @cached_property
    def classes(self) -> dict[str, type[Value]]:
        """The class of every structure, by name."""
        return build_classes(self.structure)

    @cached_property
    def value(self) -> Any:
        """The class of the message; those of its structures are attributes of it."""
        return self.classes[self.name]

    def is_flexible(self, version: int) -> bool:
        """Whether *version* has the compact form and tagged fields."""
        return self.flexible is not None and version >= self.flexible

    def decode(self, version: int) -> Decode:
        """The decoder of *version*, compiled at first use. Raises ValueError when there is no such version."""
        try:
            return self._decoders[version]
        except KeyError:
            self._check(version)
        flexible = self.is_flexible(version)
        decoder: Decode = build_decoder(self.structure, version, is_flexible=flexible, classes=self.classes)
        self._decoders[version] = decoder
        return decoder

    def encode(self, version: int) -> Encode:
        """The encoder of *version*, compiled at first use. Raises ValueError when there is no such version."""
        try:
            return self._encoders[version]
        except KeyError:
            self._check(version)
        encoder: Encode = build_encoder(self.structure, version, is_flexible=self.is_flexible(version))
        self._encoders[version] = encoder
        return encoder

    def _check(self, version: int) -> None:
        if not self.versions.covers(version):
            raise ValueError(f"{self.name} has versions {self.versions.first} to {self.versions.last}, not {version}")
