"""Source text of a function in the making: lines, indentation, constants, names."""

from __future__ import annotations

import linecache
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_INDENT = "    "


class Source:
    """Lines of one function and what they refer to. *title* is the file name that tracebacks show."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.constants: dict[str, Any] = {}
        self._lines: list[str] = []
        self._depth = 0
        self._names: dict[str, int] = {}

    def line(self, text: str) -> None:
        """Add one line at the present indentation."""
        self._lines.append(_INDENT * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add *head* and a colon; what is added inside the context is indented below it."""
        self.line(head + ":")
        self._depth += 1
        yield
        self._depth -= 1

    def name(self, stem: str) -> str:
        """A local name that no other part of the function uses."""
        number = self._names[stem] = self._names.get(stem, 0) + 1
        return f"{stem}{number}"

    def constant(self, stem: str, codes: str, value: Any) -> str:
        """The name of a constant for *value*, made from `struct` codes that it belongs to."""
        name = f"{stem}_{codes.replace('?', 't')}"
        self.constants[name] = value
        return name

    def build(self, function: str) -> Any:
        """The function that the lines define, compiled; tracebacks through it show them."""
        text = "\n".join(self._lines) + "\n"
        filename = f"<{self.title}>"
        # A time of None keeps linecache from looking for a file of that name.
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        exec(compile(text, filename, "exec"), self.constants)  # noqa: S102 # the text comes from our own tables
        return self.constants[function]
