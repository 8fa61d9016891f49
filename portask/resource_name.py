"""Names of exchanges, queues and virtual hosts: how they are kept, cleaned and spoken of.

On the wire a name is at most 255 bytes of any kind. In the core it is text, and bytes that are not UTF-8
are kept as surrogates, so that every name goes out as it came in. Text with surrogates has no CBOR form;
rows hold names as bytes.
"""

from __future__ import annotations

from portask.errors import AccessRefusedError

RESERVED_PREFIX = "amq."


def encode_name(name: str) -> bytes:
    """The bytes of *name* as they were on the wire."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(data: bytes) -> str:
    """The name that *data* is, whatever bytes are in it."""
    return data.decode("utf-8", "surrogateescape")


def clean_name(name: str) -> str:
    """*name* without the line ends that some clients send along."""
    return name.replace("\r", "").replace("\n", "")


def describe(kind: str, name: str, virtual_host: str) -> str:
    """How an error speaks of it: `queue 'orders' in vhost '/'`."""
    return f"{kind} '{name}' in vhost '{virtual_host}'"


def spell(value: object) -> str:
    """How an error spells a *value*."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_unreserved(kind: str, name: str) -> None:
    """Raise AccessRefusedError when nobody but the broker may make something of that *name*."""
    if name.startswith(RESERVED_PREFIX):
        raise AccessRefusedError(f"{kind} name '{name}' contains reserved prefix '{RESERVED_PREFIX}*'")
