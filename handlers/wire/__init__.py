"""Wire formats as tables: messages declared one line per field, compiled into decode and encode functions.

`declaration` reads the lines, `types` knows what a field can be, `decoder` and `encoder` write a flat
Python function per version of a message, `values` makes the classes, and `message` ties them together. All
of it is bytes and values: nothing here knows a socket, a clock or a log.
"""

from handlers.wire.message import Decode, Encode, Message
from handlers.wire.reading import Buffer

__all__ = ["Buffer", "Decode", "Encode", "Message"]
