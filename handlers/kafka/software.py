"""Which library a client is, also on connections that do not say it.

ApiVersions names the library. Some clients (franz-go) call it on their first connection alone, so what was
said there counts for those that come from the same host under the same client id and never call it. Once two
libraries have shared a client id, neither is believed.
"""

from __future__ import annotations

MAX_CLIENTS = 10_000
UNKNOWN = ""

Client = tuple[str, str]
"""Host and client id."""


class SoftwareNames:
    """What clients have said of themselves, the oldest forgotten first."""

    def __init__(self) -> None:
        self._names: dict[Client, str] = {}

    def announce(self, client: Client, name: str) -> None:
        """A connection of *client* says that it is of the library *name*, UNKNOWN when it asks without saying."""
        known = self._names.pop(client, name)
        self._names[client] = name if known == name else UNKNOWN
        if len(self._names) > MAX_CLIENTS:
            del self._names[next(iter(self._names))]

    def find(self, client: Client) -> str:
        """The library of *client*, UNKNOWN if nobody said, several did, or it has no client id."""
        return self._names.get(client, UNKNOWN) if client[1] else UNKNOWN
