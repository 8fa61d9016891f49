"""An API: its key, and its request and response as tables of wire fields for all versions at once."""

from __future__ import annotations

from typing import Any

from handlers.wire import Decode, Encode, Message
from handlers.wire.declaration import Versions

_API_VERSIONS_KEY = 18


class Api:
    """One API of the protocol. Classes and functions are made at first use."""

    def __init__(self, key: int, request: Message, response: Message) -> None:
        self.key = key
        self.name = request.name.removesuffix("Request")
        """As upstream, such as "OffsetForLeaderEpoch"."""
        self.request = request
        self.response = response
        self.versions = request.versions
        """First and last version."""
        self.flexible = request.flexible
        """First version with compact lengths and tagged fields, None when there is none."""

    def __repr__(self) -> str:
        return f"<Api {self.key} {self.name}>"

    @property
    def Request(self) -> Any:  # noqa: N802 # it gives a class
        """The class of requests; those of nested structures are its attributes."""
        return self.request.value

    @property
    def Response(self) -> Any:  # noqa: N802 # it gives a class
        """The class of responses; those of nested structures are its attributes."""
        return self.response.value

    def decode_request(self, version: int) -> Decode:
        """The function that decodes requests of *version*. Raises ValueError when there is no such version."""
        return self.request.decode(version)

    def encode_request(self, version: int) -> Encode:
        """The function that encodes requests of *version*."""
        return self.request.encode(version)

    def decode_response(self, version: int) -> Decode:
        """The function that decodes responses of *version*."""
        return self.response.decode(version)

    def encode_response(self, version: int) -> Encode:
        """The function that encodes responses of *version*. Raises ValueError when there is no such version."""
        return self.response.encode(version)

    def request_header(self, version: int) -> int:
        """Version of the header that stands before requests of *version*."""
        return 2 if self.request.is_flexible(version) else 1

    def response_header(self, version: int) -> int:
        """Version of the header that stands before responses of *version*."""
        # A client that does not know yet what we speak must be able to read ApiVersions, KIP-511.
        if self.key == _API_VERSIONS_KEY:
            return 0
        return 1 if self.response.is_flexible(version) else 0


def api(key: int, name: str, *, versions: str, request: str, response: str, flexible: str | None = None) -> Api:
    """The API that the tables *request* and *response* declare, its versions given as "0-4", flexible as "2+"."""
    return Api(
        key,
        message(name + "Request", request, versions=versions, flexible=flexible),
        message(name + "Response", response, versions=versions, flexible=flexible),
    )


def message(name: str, text: str, *, versions: str, flexible: str | None = None) -> Message:
    """A message that belongs to no API: a header, or what clients hand each other through the broker."""
    first, _, last = versions.partition("-")
    span = Versions(int(first), int(last or first))
    return Message(name, text, span, int(flexible.rstrip("+")) if flexible else None)
