"""Feeding a decoder in every way that a socket may."""

from handlers.native.codec import Decoder
from handlers.native.command import Command, Limits

LIMITS = Limits(line_bytes=200, message_bytes=1000, command_bytes=4000, command_messages=50)


def shown(item):
    """An item as a value that can be compared."""
    if isinstance(item, Command):
        return (item.verb, item.correlation, item.arguments)
    return (type(item.error), item.correlation, str(item.error), item.fatal)


def decode(data, limits=LIMITS):
    """What *data* decodes to, the same whole, byte by byte and in two pieces."""
    whole = [shown(item) for item in Decoder(limits).feed(data)]
    decoder = Decoder(limits)
    single = [shown(item) for byte in data for item in decoder.feed(bytes([byte]))]
    assert single == whole
    for cut in range(1, len(data), max(1, len(data) // 7)):
        decoder = Decoder(limits)
        halves = decoder.feed(memoryview(data)[:cut]) + decoder.feed(bytearray(data[cut:]))
        assert [shown(item) for item in halves] == whole
    return whole


def one(data, limits=LIMITS):
    """The only item that *data* decodes to."""
    (item,) = decode(data, limits)
    return item


def refused(data, limits=LIMITS):
    """The error's class, its text, and whether it is fatal, of the only item that *data* decodes to."""
    kind, _, text, fatal = one(data, limits)
    return kind, text, fatal
