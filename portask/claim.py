"""Claims: a name belongs to one greenlet while it makes, changes or removes what has that name.

A change of a table takes a round, and until it is durable others must neither see half of it nor begin
the same one again. They wait; nothing else does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from gevent.event import Event


class Claims:
    """Names that are taken at the moment."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[Hashable, Event] = {}

    @contextmanager
    def claim(self, name: Hashable) -> Iterator[None]:
        """Keep *name* to this greenlet for the block. Blocks while another has it."""
        while (taken := self._pending.get(name)) is not None:
            taken.wait()
        self._pending[name] = Event()
        try:
            yield
        finally:
            self._pending.pop(name).set()
