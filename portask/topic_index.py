"""Patterns of words, found by walking the words of a key.

A pattern is words with dots between them; `*` stands for one word, `#` for any number. They are kept as a
tree by words, and a key walks it: all places where a pattern can stand after each word are known at
once, each one time, so a key costs its words times those places, never the number of patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class _Node(Generic[Value]):
    """A place in patterns; the values of those that end here."""

    __slots__ = ("any_number", "any_word", "is_loop", "values", "words")

    def __init__(self, *, is_loop: bool = False) -> None:
        self.words: dict[str, _Node[Value]] = {}
        self.any_word: _Node[Value] | None = None
        """What follows after `*`."""
        self.any_number: _Node[Value] | None = None
        """What follows after `#`."""
        self.is_loop = is_loop
        """This is what follows after `#`: every word leads here again."""
        self.values: dict[Value, None] = {}

    @property
    def is_bare(self) -> bool:
        """Nothing ends here or goes on from here."""
        return not (self.values or self.words or self.any_word or self.any_number)


class TopicIndex(Generic[Value]):
    """Values under patterns; a value may be under several."""

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node()

    def add(self, pattern: str, value: Value) -> None:
        """Have `match` find *value* for the keys that *pattern* fits."""
        node = self._root
        for word in split(pattern):
            node = _child(node, word)
        node.values[value] = None

    def remove(self, pattern: str, value: Value) -> None:
        """Take back an `add`; what was not added is left alone."""
        path = [self._root]
        words = split(pattern)
        for word in words:
            node = path[-1]
            after = node.any_word if word == "*" else node.any_number if word == "#" else node.words.get(word)
            if after is None:
                return
            path.append(after)
        path[-1].values.pop(value, None)
        for word, parent, node in zip(reversed(words), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if not node.is_bare:
                return
            if word == "*":
                parent.any_word = None
            elif word == "#":
                parent.any_number = None
            else:
                del parent.words[word]

    def match(self, key: str) -> Iterator[Value]:
        """The values of all patterns that fit *key*; one that is under several of them comes more than once."""
        places: Iterable[_Node[Value]] = _with_loops((self._root,))
        for word in split(key):
            after: dict[_Node[Value], None] = {}
            for node in places:
                if node.is_loop:
                    after[node] = None
                following = node.words.get(word)
                if following is not None:
                    after[following] = None
                if node.any_word is not None:
                    after[node.any_word] = None
            if not after:
                return
            places = _with_loops(after)
        for node in places:
            yield from node.values


def split(key: str) -> list[str]:
    """The words of a key or pattern; the empty one has none."""
    return key.split(".") if key else []


def _with_loops(places: Iterable[_Node[Value]]) -> Iterable[_Node[Value]]:
    """*places*, and those behind every `#` that follows one of them and stands for no word at all."""
    loops = [node.any_number for node in places if node.any_number is not None]
    if not loops:
        return places
    known = dict.fromkeys(places)
    for node in loops:  # grows while `#` follows `#`
        known[node] = None
        if node.any_number is not None:
            loops.append(node.any_number)
    return known


def _child(node: _Node[Value], word: str) -> _Node[Value]:
    if word == "*":
        node.any_word = node.any_word or _Node()
        return node.any_word
    if word == "#":
        node.any_number = node.any_number or _Node(is_loop=True)
        return node.any_number
    child = node.words.get(word)
    if child is None:
        child = node.words[word] = _Node()
    return child
